// (a', b') = (a cos - b sin, b cos + a sin) for each pair of the first 2·pairs elements of a head; the rest is copied.
// x, out [T, heads, head_dim] f32; cos_sin [T, pairs, 2] f32. Limited by bytes.
#include "halyard/ops/rope/cpu.h"
#include "halyard/ops/rope/heads.h"

namespace halyard::ops {
namespace {

void rope(const CpuTile& t, bool interleaved) {
  const auto& c = t.constants_as<RopeConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r)
    heads::turn_head(t.as<float>(0) + r * c.head_dim, t.as<float>(1) + r / c.heads * c.pairs * 2,
                     t.as<float>(2) + r * c.head_dim, c.head_dim, c.pairs, interleaved);
}

}  // namespace

template <> void rope_half_split_cpu<kIsa>(const CpuTile& t) { rope(t, false); }
template <> void rope_interleaved_cpu<kIsa>(const CpuTile& t) { rope(t, true); }

template <> void heads_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<HeadConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r)
    heads::send(t, c, r, t.as<float>(0) + r * c.head_dim, t.buffers[1], t.as<float>(2), t.as<const std::int32_t>(3),
                t.buffers[4], reinterpret_cast<float*>(t.shared));
}

}  // namespace halyard::ops
