#include "halyard/ops/copy/copy.h"

#include "halyard/ops/check.h"
#include "halyard/ops/copy/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef copy_def = {"copy", "rw", {.cpu = &cpu::copy}};
const KernelDef gather_def = {"gather_rows", "rrw", {.cpu = &cpu::gather_rows}};

bool converts(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

}  // namespace

Result<void> copy(CommandEncoder& e, const Buffer& src, const Buffer& dst) {
  return guarded([&]() -> Result<void> {
    if (!src) return bad_argument("copy", "src", "a buffer", describe(src));
    if (!dst) return bad_argument("copy", "dst", "a buffer", describe(dst));
    if (dst.dtype() != src.dtype() && !(converts(src.dtype()) && converts(dst.dtype())))
      return bad_argument("copy", "dst",
                          converts(src.dtype()) ? "f32 or f16 or bf16" : std::string(to_string(src.dtype())),
                          describe(dst));
    const std::size_t elements = src.shape().elements();
    if (dst.shape().elements() != elements)
      return bad_argument("copy", "dst", fmt::format("{} elements", elements), describe(dst));
    HALYARD_TRY(check_writes("copy", {"dst", dst}, {}, {{"src", src}}));
    if (elements == 0) return {};
    const Buffer buffers[] = {src, dst};
    return e.dispatch(
        copy_def, buffers,
        CopyConstants{elements, src.dtype(), dst.dtype(), static_cast<std::uint8_t>(size_of(src.dtype()))});
  });
}

Result<void> gather_rows(CommandEncoder& e, const Buffer& x, const Buffer& rows, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "gather_rows";
    HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 2));
    HALYARD_TRY(check_rank(op, "rows", rows, {DType::i32}, 1));
    const std::size_t n = rows.shape()[0], width = x.shape()[1];
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, {n, width}));
    HALYARD_TRY(check_writes(op, {"out", out}, {}, {{"x", x}, {"rows", rows}}));
    if (n == 0 || width == 0) return {};
    const Buffer buffers[] = {x, rows, out};
    return e.dispatch(gather_def, buffers, GatherConstants{x.shape()[0], width * sizeof(float), n});
  });
}

}  // namespace halyard::ops
