#include "halyard/ops/rope/rope.h"

#include "halyard/ops/check.h"
#include "halyard/ops/rope/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef rope_angles_def = {"rope_angles", "rrw", {.cpu = &cpu::rope_angles}};
const KernelDef half_split_def = {"rope_half_split", "rrw", {.cpu = &cpu::rope_half_split}};
const KernelDef interleaved_def = {"rope_interleaved", "rrw", {.cpu = &cpu::rope_interleaved}};

}  // namespace

Result<void> rope_angles(CommandEncoder& e, const Buffer& positions, const Buffer& inv_freq, const Buffer& cos_sin,
                         float attention_factor) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_rank("rope_angles", "positions", positions, {DType::i32}, 1));
    HALYARD_TRY(check_rank("rope_angles", "inv_freq", inv_freq, {DType::f64}, 1));
    const std::size_t rows = positions.shape()[0], pairs = inv_freq.shape()[0];
    HALYARD_TRY(check_tensor("rope_angles", "cos_sin", cos_sin, {DType::f32}, {rows, pairs, 2}));
    HALYARD_TRY(
        check_writes("rope_angles", {"cos_sin", cos_sin}, {}, {{"positions", positions}, {"inv_freq", inv_freq}}));
    if (rows * pairs == 0) return {};
    const Buffer buffers[] = {positions, inv_freq, cos_sin};
    return e.dispatch(rope_angles_def, buffers, RopeAnglesConstants{rows, pairs, attention_factor});
  });
}

Result<void> rope(CommandEncoder& e, const Buffer& x, const Buffer& cos_sin, const Buffer& out, RopeLayout layout) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_rank("rope", "x", x, {DType::f32}, 3));
    HALYARD_TRY(check_rank("rope", "cos_sin", cos_sin, {DType::f32}, 3));
    const std::size_t positions = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2];
    const std::size_t pairs = cos_sin.shape()[1];
    HALYARD_TRY(check_tensor("rope", "cos_sin", cos_sin, {DType::f32}, {positions, pairs, 2}));
    if (pairs > head_dim / 2)
      return bad_argument("rope", "cos_sin", fmt::format("at most {} pairs for heads of {}", head_dim / 2, head_dim),
                          fmt::format("{}", pairs));
    HALYARD_TRY(check_tensor("rope", "out", out, {DType::f32}, x.shape()));
    HALYARD_TRY(check_writes("rope", {"out", out}, {{"x", x}}, {{"cos_sin", cos_sin}}));
    if (x.shape().elements() == 0) return {};
    const Buffer buffers[] = {x, cos_sin, out};
    const KernelDef& def = layout == RopeLayout::half_split ? half_split_def : interleaved_def;
    return e.dispatch(def, buffers, RopeConstants{positions * heads, heads, head_dim, pairs});
  });
}

}  // namespace halyard::ops
