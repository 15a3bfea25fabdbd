#include "halyard/ops/moe/moe.h"

#include "halyard/ops/check.h"
#include "halyard/ops/moe/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef choice_def = {"expert_choice", "rww", {.cpu = &cpu::expert_choice}};
const KernelDef order_def = {"expert_order", "rwww", {.cpu = &cpu::expert_order}};
const KernelDef sum_def = {"expert_sum", "rrrw", {.cpu = &cpu::expert_sum}};

}  // namespace

Result<void> expert_choice(CommandEncoder& e, const Buffer& logits, const Buffer& ids, const Buffer& weights,
                           bool normalise) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "expert_choice";
    HALYARD_TRY(check_rank(op, "logits", logits, {DType::f32}, 2));
    HALYARD_TRY(check_rank(op, "ids", ids, {DType::i32}, 2));
    const std::size_t rows = logits.shape()[0], experts = logits.shape()[1], chosen = ids.shape()[1];
    if (experts > most_experts)
      return bad_argument(op, "logits", fmt::format("at most {} experts", most_experts), to_string(logits.shape()));
    if (chosen == 0 || chosen > experts)
      return bad_argument(op, "ids", fmt::format("1 to {} a row", experts), to_string(ids.shape()));
    HALYARD_TRY(check_tensor(op, "ids", ids, {DType::i32}, {rows, chosen}));
    HALYARD_TRY(check_tensor(op, "weights", weights, {DType::f32}, {rows, chosen}));
    HALYARD_TRY(check_writes(op, {"ids", ids}, {}, {{"logits", logits}, {"weights", weights}}));
    HALYARD_TRY(check_writes(op, {"weights", weights}, {}, {{"logits", logits}}));
    if (rows == 0) return {};
    const Buffer buffers[] = {logits, ids, weights};
    return e.dispatch(choice_def, buffers,
                      ExpertChoiceConstants{rows, static_cast<std::uint32_t>(experts),
                                            static_cast<std::uint32_t>(chosen), normalise ? 1U : 0U});
  });
}

Result<void> expert_order(CommandEncoder& e, const Buffer& ids, const Buffer& rows, const Buffer& places,
                          const Buffer& starts) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "expert_order";
    HALYARD_TRY(check_rank(op, "ids", ids, {DType::i32}, 2));
    HALYARD_TRY(check_rank(op, "starts", starts, {DType::i32}, 1));
    const std::size_t pairs = ids.shape().elements(), ends = starts.shape()[0];
    if (ends < 2 || ends > most_experts + 1)
      return bad_argument(op, "starts", fmt::format("one more than 1 to {} experts", most_experts),
                          to_string(starts.shape()));
    if (pairs > INT32_MAX) return bad_argument(op, "ids", "fewer than 2^31", to_string(ids.shape()));
    HALYARD_TRY(check_tensor(op, "rows", rows, {DType::i32}, {pairs}));
    HALYARD_TRY(check_tensor(op, "places", places, {DType::i32}, ids.shape()));
    HALYARD_TRY(check_writes(op, {"rows", rows}, {}, {{"ids", ids}, {"places", places}, {"starts", starts}}));
    HALYARD_TRY(check_writes(op, {"places", places}, {}, {{"ids", ids}, {"starts", starts}}));
    HALYARD_TRY(check_writes(op, {"starts", starts}, {}, {{"ids", ids}}));
    const Buffer buffers[] = {ids, rows, places, starts};
    return e.dispatch(
        order_def, buffers,
        ExpertOrderConstants{pairs, static_cast<std::uint32_t>(ends - 1), static_cast<std::uint32_t>(ids.shape()[1])});
  });
}

Result<void> expert_sum(CommandEncoder& e, const Buffer& y, const Buffer& places, const Buffer& weights,
                        const Buffer& out) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "expert_sum";
    HALYARD_TRY(check_rank(op, "places", places, {DType::i32}, 2));
    HALYARD_TRY(check_rank(op, "out", out, {DType::f32}, 2));
    const std::size_t rows = places.shape()[0], chosen = places.shape()[1], width = out.shape()[1];
    if (chosen > most_experts)
      return bad_argument(op, "places", fmt::format("at most {} a row", most_experts), to_string(places.shape()));
    HALYARD_TRY(check_tensor(op, "y", y, {DType::f32}, {rows * chosen, width}));
    HALYARD_TRY(check_tensor(op, "weights", weights, {DType::f32}, places.shape()));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, {rows, width}));
    HALYARD_TRY(check_writes(op, {"out", out}, {}, {{"y", y}, {"places", places}, {"weights", weights}}));
    if (out.shape().elements() == 0) return {};
    const Buffer buffers[] = {y, places, weights, out};
    return e.dispatch(sum_def, buffers, ExpertSumConstants{rows, width, static_cast<std::uint32_t>(chosen)});
  });
}

}  // namespace halyard::ops
