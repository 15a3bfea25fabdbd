#include "halyard/ops/ssd/ssd.h"

#include "halyard/ops/check.h"
#include "halyard/ops/ssd/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef ssd_def = {"ssd", "rrrrrrrrxw", {.cpu = &cpu::ssd}};

}  // namespace

Result<void> ssd(CommandEncoder& e, const Buffer& xbc, const Buffer& dt, const Buffer& a, const Buffer& d,
                 const Buffer& dt_bias, const Buffer& state, const Buffer& out, const SlotBatch& batch,
                 const SsdOptions& options) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "ssd";
    HALYARD_TRY(check_rank(op, "state", state, {DType::f32}, 4));
    HALYARD_TRY(check_rank(op, "dt", dt, {DType::f32}, 2));
    HALYARD_TRY(check_rank(op, "spans", batch.spans, {DType::i32}, 2));
    const Shape& s = state.shape();
    const std::size_t rows = dt.shape()[0], heads = s[1], head_dim = s[2], width = s[3], groups = options.groups,
                      sequences = batch.spans.shape()[0];
    if (groups == 0 || heads % groups != 0)
      return bad_argument(op, "state", fmt::format("heads that divide into {} groups", groups), to_string(s));
    if (heads > UINT32_MAX || head_dim > UINT32_MAX || width > UINT32_MAX)
      return bad_argument(op, "state", "fewer than 2^32 heads, elements of a head and states", to_string(s));
    HALYARD_TRY(check_tensor(op, "xbc", xbc, {DType::f32}, {rows, heads * head_dim + 2 * groups * width}));
    HALYARD_TRY(check_tensor(op, "dt", dt, {DType::f32}, {rows, heads}));
    for (const Argument& v : {Argument{"a", a}, Argument{"d", d}, Argument{"dt_bias", dt_bias}})
      HALYARD_TRY(check_tensor(op, v.name, v.buffer, {DType::f32}, {heads}));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, {rows, heads * head_dim}));
    HALYARD_TRY(check_slot_batch(op, batch, sequences));
    for (const Argument& written : {Argument{"out", out}, Argument{"state", state}})
      HALYARD_TRY(check_writes(op, written, {},
                               {{"xbc", xbc},
                                {"dt", dt},
                                {"a", a},
                                {"d", d},
                                {"dt_bias", dt_bias},
                                {"spans", batch.spans},
                                {"from", batch.from},
                                {"to", batch.to}}));
    HALYARD_TRY(check_writes(op, {"out", out}, {}, {{"state", state}}));
    if (out.shape().elements() == 0 || sequences == 0) return {};
    const SsdConstants c = {rows,
                            s[0],
                            static_cast<std::uint32_t>(heads),
                            static_cast<std::uint32_t>(head_dim),
                            static_cast<std::uint32_t>(groups),
                            static_cast<std::uint32_t>(width),
                            options.dt_min,
                            options.dt_max};
    const Buffer buffers[] = {xbc, dt, a, d, dt_bias, batch.spans, batch.from, batch.to, state, out};
    return e.dispatch(ssd_def, buffers, c);
  });
}

}  // namespace halyard::ops
