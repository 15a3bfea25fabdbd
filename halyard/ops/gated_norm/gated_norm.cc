#include "halyard/ops/gated_norm/gated_norm.h"

#include "halyard/ops/check.h"
#include "halyard/ops/gated_norm/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef gated_norm_def = {"gated_norm", "rrrw", {.cpu = &cpu::gated_norm}};

}  // namespace

Result<void> gated_norm(CommandEncoder& e, const Buffer& x, const Buffer& gate, const Buffer& weight, const Buffer& out,
                        float eps, std::size_t groups) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "gated_norm";
    HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 2));
    const std::size_t rows = x.shape()[0], width = x.shape()[1];
    if (groups == 0 || width % groups != 0)
      return bad_argument(op, "x", fmt::format("rows that divide into {} groups", groups), to_string(x.shape()));
    HALYARD_TRY(check_tensor(op, "gate", gate, {DType::f32}, x.shape()));
    HALYARD_TRY(check_tensor(op, "weight", weight, {DType::f32}, {width}));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, x.shape()));
    HALYARD_TRY(check_writes(op, {"out", out}, {{"x", x}, {"gate", gate}}, {{"weight", weight}}));
    if (x.shape().elements() == 0) return {};
    const Buffer buffers[] = {x, gate, weight, out};
    return e.dispatch(gated_norm_def, buffers, GatedNormConstants{rows, groups, width / groups, eps});
  });
}

}  // namespace halyard::ops
