#include "halyard/ops/causal_conv/causal_conv.h"

#include "halyard/ops/causal_conv/kernels.h"
#include "halyard/ops/check.h"

namespace halyard::ops {
namespace {

const KernelDef causal_conv_def = {"causal_conv", "rrrrrrxw", {.cpu = &cpu::causal_conv}};

}  // namespace

Result<void> causal_conv(CommandEncoder& e, const Buffer& x, const Buffer& weight, const Buffer& bias,
                         const Buffer& state, const Buffer& out, const SlotBatch& batch) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "causal_conv";
    HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 2));
    HALYARD_TRY(check_rank(op, "weight", weight, {DType::f32}, 2));
    HALYARD_TRY(check_rank(op, "state", state, {DType::f32}, 3));
    HALYARD_TRY(check_rank(op, "spans", batch.spans, {DType::i32}, 2));
    const std::size_t rows = x.shape()[0], channels = x.shape()[1], taps = weight.shape()[0], slots = state.shape()[0],
                      sequences = batch.spans.shape()[0];
    if (taps == 0 || taps > 64) return bad_argument(op, "weight", "1 to 64 taps", to_string(weight.shape()));
    HALYARD_TRY(check_tensor(op, "weight", weight, {DType::f32}, {taps, channels}));
    if (bias) HALYARD_TRY(check_tensor(op, "bias", bias, {DType::f32}, {channels}));
    HALYARD_TRY(check_tensor(op, "state", state, {DType::f32}, {slots, taps - 1, channels}));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, x.shape()));
    HALYARD_TRY(check_slot_batch(op, batch, sequences));
    HALYARD_TRY(check_writes(op, {"out", out}, {},
                             {{"x", x},
                              {"weight", weight},
                              {"bias", bias},
                              {"state", state},
                              {"spans", batch.spans},
                              {"from", batch.from},
                              {"to", batch.to}}));
    HALYARD_TRY(check_writes(op, {"state", state}, {},
                             {{"x", x},
                              {"weight", weight},
                              {"bias", bias},
                              {"spans", batch.spans},
                              {"from", batch.from},
                              {"to", batch.to}}));
    if (x.shape().elements() == 0 || sequences == 0) return {};
    const CausalConvConstants c = {rows, channels, slots, static_cast<std::uint32_t>(taps), bias ? 1U : 0U};
    const Buffer buffers[] = {x, weight, bias ? bias : weight, batch.spans, batch.from, batch.to, state, out};
    return e.dispatch(causal_conv_def, buffers, c);
  });
}

}  // namespace halyard::ops
