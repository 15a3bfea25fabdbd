#include "halyard/ops/matmul/matmul.h"

#include <array>

#include <fmt/format.h>

#include "halyard/ops/check.h"
#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/weight/layout.h"

namespace halyard::ops {
namespace {

const KernelDef pack_kernel = {"pack_activations", "rw", {.cpu = &cpu::pack_activations}};

// Activations f32 [T, k]: T.
Result<std::size_t> positions_of(std::string_view op, const Buffer& x) {
  HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 2));
  return x.shape()[0];
}

MatmulArgs arguments_of(const Weight::Impl& w, std::size_t positions) {
  return {.positions = positions,
          .n = w.n,
          .k = w.k,
          .group = w.group,
          .bits = static_cast<std::uint8_t>(w.bits),
          .dtype = w.dtype};
}

}  // namespace

std::size_t packed_bytes(std::size_t t, std::size_t k) { return t * (k / 32) * sizeof(PackedGroup); }

Result<void> pack_activations(CommandEncoder& encoder, const Buffer& x, const Buffer& packed) {
  return guarded([&]() -> Result<void> {
    const std::size_t t = HALYARD_TRY(positions_of("pack_activations", x)), k = x.shape()[1];
    if (k % 32 != 0) return bad_argument("pack_activations", "x", "whole groups of 32 columns", to_string(x.shape()));
    HALYARD_TRY(check_tensor("pack_activations", "packed", packed, {DType::u8}, {packed_bytes(t, k)}));
    HALYARD_TRY(check_writes("pack_activations", {"packed", packed}, {}, {{"x", x}}));
    const Buffer buffers[] = {x, packed};
    return encoder.dispatch(pack_kernel, buffers, PackConstants{k / 32, t});
  });
}

Result<void> matmul(CommandEncoder& encoder, const Activations& a, const Weight& weight, const Buffer& out,
                    const MatmulOptions& options) {
  return guarded([&]() -> Result<void> {
    const Weight::Impl* w = WeightAccess::impl(weight);
    if (!w) return fail(Errc::invalid_argument, "matmul: the weight was never loaded");
    if (weight.experts() != 0)
      return fail(Errc::invalid_argument,
                  fmt::format("matmul: the weight is {} experts: see matmul_experts", weight.experts()));
    const std::size_t n = weight.rows(), k = weight.columns();
    const std::size_t t = HALYARD_TRY(positions_of("matmul", a.x));
    HALYARD_TRY(check_tensor("matmul", "x", a.x, {DType::f32}, {t, k}));
    if (weight.wants_packed())
      HALYARD_TRY(check_tensor("matmul", "packed", a.packed, {DType::u8}, {packed_bytes(t, k)}));
    HALYARD_TRY(check_tensor("matmul", "out", out, {DType::f32}, {t, n}));
    if (options.bias) HALYARD_TRY(check_tensor("matmul", "bias", options.bias, {DType::f32}, {n}));
    HALYARD_TRY(check_writes("matmul", {"out", out}, {},
                             {{"x", a.x}, {"packed", a.packed}, {"bias", options.bias}, {"the weight", w->memory[0]}}));

    MatmulArgs args = arguments_of(*w, t);
    args.has_bias = options.bias ? 1 : 0;
    args.accumulate = options.accumulate ? 1 : 0;
    const KernelDef& def = options.accumulate ? w->layout->accumulate : w->layout->store;

    std::array<Buffer, 6> buffers;
    std::size_t bound = 0;
    buffers[bound++] = weight.wants_packed() ? a.packed : a.x;
    for (std::size_t i = 0; i < w->bindings; ++i) buffers[bound++] = w->memory[i];
    buffers[bound++] = options.bias ? options.bias : w->memory[0];  // a stand-in, not read
    buffers[bound++] = out;
    return encoder.dispatch(def, std::span(buffers).first(bound), args);
  });
}

Result<void> matmul_experts(CommandEncoder& encoder, const Activations& a, const Weight& weight, const Buffer& starts,
                            const Buffer& out) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "matmul_experts";
    const Weight::Impl* w = WeightAccess::impl(weight);
    if (!w || weight.experts() == 0) return fail(Errc::invalid_argument, "matmul_experts: the weight is no experts'");
    const std::size_t n = weight.rows(), k = weight.columns(), t = HALYARD_TRY(positions_of(op, a.x));
    HALYARD_TRY(check_tensor(op, "x", a.x, {DType::f32}, {t, k}));
    if (weight.wants_packed()) HALYARD_TRY(check_tensor(op, "packed", a.packed, {DType::u8}, {packed_bytes(t, k)}));
    HALYARD_TRY(check_tensor(op, "starts", starts, {DType::i32}, {weight.experts() + 1}));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, {t, n}));
    HALYARD_TRY(check_writes(op, {"out", out}, {},
                             {{"x", a.x}, {"packed", a.packed}, {"starts", starts}, {"the weight", w->memory[0]}}));
    ExpertArgs args = {
        .product = arguments_of(*w, t), .strides = {}, .experts = static_cast<std::uint32_t>(weight.experts())};
    std::array<Buffer, 6> buffers;
    std::size_t bound = 0;
    buffers[bound++] = weight.wants_packed() ? a.packed : a.x;
    for (std::size_t i = 0; i < w->bindings; ++i) {
      buffers[bound++] = w->memory[i];
      args.strides[i] = w->memory[i].size_bytes() / weight.experts();
    }
    buffers[bound++] = starts;
    buffers[bound++] = out;
    return encoder.dispatch(w->layout->experts, std::span(buffers).first(bound), args);
  });
}

}  // namespace halyard::ops
