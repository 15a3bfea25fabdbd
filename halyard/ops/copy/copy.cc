#include "halyard/ops/copy/copy.h"

#include <cstring>

#include "halyard/ops/check.h"
#include "halyard/ops/copy/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef copy_def = {"copy", "rw", {}, HALYARD_CPU_KERNEL(copy_cpu)};

struct GatherConstants {
  std::uint64_t rows, row_bytes, n, item_rows;  // of x; of both; of out; of one work-item
};

// Bindings: x, rows, out.
void gather_rows_cpu(const CpuTile& t) {
  const auto& c = t.constants_as<GatherConstants>();
  for (std::uint64_t i = t.x0 * c.item_rows; i < c.n && i < t.x1 * c.item_rows; ++i) {
    const std::int32_t row = t.as<const std::int32_t>(1)[i];
    if (row < 0 || static_cast<std::uint64_t>(row) >= c.rows)
      return t.fail("row %lld is outside a matrix of %lld rows", row, static_cast<long long>(c.rows));
    std::memcpy(t.buffers[2] + i * c.row_bytes, t.buffers[0] + static_cast<std::uint64_t>(row) * c.row_bytes, c.row_bytes);
  }
}
const KernelDef gather_def = {"gather_rows", "rrw", {}, cpu_portable<gather_rows_cpu>};

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
    constexpr std::size_t item = 4 * kItemElements;
    const Buffer buffers[] = {src, dst};
    return e.dispatch({.kernel = HALYARD_TRY(e.kernel(copy_def)),
                       .grid = {items(elements, item)},
                       .buffers = buffers,
                       .constants = CopyConstants{elements, item, src.dtype(), dst.dtype(),
                                                  static_cast<std::uint8_t>(size_of(src.dtype()))}});
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
    const GatherConstants c = {x.shape()[0], width * sizeof(float), n, rows_per_item(width)};
    const Buffer buffers[] = {x, rows, out};
    return e.dispatch({.kernel = HALYARD_TRY(e.kernel(gather_def)),
                       .grid = {items(n, c.item_rows)},
                       .buffers = buffers,
                       .constants = c});
  });
}

}  // namespace halyard::ops
