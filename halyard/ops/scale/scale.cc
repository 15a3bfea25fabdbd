#include "halyard/ops/scale/scale.h"

#include "halyard/ops/check.h"
#include "halyard/ops/scale/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef scale_def = {"scale_f32", "rw", {.cpu = &cpu::scale}};

}  // namespace

Result<void> scale(CommandEncoder& e, const Buffer& x, float factor, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "scale";
    HALYARD_TRY(check_dtype(op, "x", x, {DType::f32}));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, x.shape()));
    HALYARD_TRY(check_writes(op, {"out", out}, {{"x", x}}, {}));
    const std::size_t elements = x.shape().elements();
    if (elements == 0) return {};
    const Buffer buffers[] = {x, out};
    return e.dispatch(scale_def, buffers, ScaleConstants{elements, factor});
  });
}

}  // namespace halyard::ops
