#include "halyard/ops/copy/copy.h"

#include "halyard/ops/check.h"
#include "halyard/ops/copy/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef copy_def = {"copy", "rw", {}, HALYARD_CPU_KERNEL(copy_cpu)};

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

}  // namespace halyard::ops
