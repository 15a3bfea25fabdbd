#include "halyard/ops/norm/norm.h"

#include "halyard/ops/check.h"
#include "halyard/ops/norm/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef rms_norm_def = {"rms_norm", "rrw", {.cpu = &cpu::rms_norm}};
const KernelDef layer_norm_def = {"layer_norm", "rrrw", {.cpu = &cpu::layer_norm}};

Result<void> check_common(std::string_view op, const Buffer& x, const Buffer& weight, const Buffer& out) {
  HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 0));
  HALYARD_TRY(check_tensor(op, "weight", weight, {DType::f32, DType::f16, DType::bf16}, {x.shape().back()}));
  HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, x.shape()));
  return check_writes(op, {"out", out}, {{"x", x}}, {{"weight", weight}});
}

NormConstants constants(const Buffer& x, const Buffer& weight, float eps) {
  const std::size_t width = x.shape().back();
  return {.rows = x.shape().elements() / width,
          .width = width,
          .eps = eps,
          .weight = weight.dtype(),
          .bias = weight.dtype(),
          .has_bias = 0};
}

}  // namespace

Result<void> rms_norm(CommandEncoder& e, const Buffer& x, const Buffer& weight, const Buffer& out, float eps) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_common("rms_norm", x, weight, out));
    if (x.shape().elements() == 0) return {};
    const Buffer buffers[] = {x, weight, out};
    return e.dispatch(rms_norm_def, buffers, constants(x, weight, eps));
  });
}

Result<void> layer_norm(CommandEncoder& e, const Buffer& x, const Buffer& weight, const Buffer& bias, const Buffer& out,
                        float eps) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_common("layer_norm", x, weight, out));
    if (bias) {
      HALYARD_TRY(check_tensor("layer_norm", "bias", bias, {DType::f32, DType::f16, DType::bf16}, weight.shape()));
      HALYARD_TRY(check_writes("layer_norm", {"out", out}, {}, {{"bias", bias}}));
    }
    if (x.shape().elements() == 0) return {};
    NormConstants c = constants(x, weight, eps);
    c.has_bias = bool(bias);
    if (bias) c.bias = bias.dtype();
    const Buffer buffers[] = {x, weight, bias ? bias : weight, out};
    return e.dispatch(layer_norm_def, buffers, c);
  });
}

}  // namespace halyard::ops
