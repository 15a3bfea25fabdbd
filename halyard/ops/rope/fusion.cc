#include <cstddef>

#include "halyard/ops/rope/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

const KernelDef norm_rope_def = {"norm_rope", "rrrw", {}, HALYARD_CPU_KERNEL(norm_rope_cpu)};
const KernelDef rope_append_def = {"rope_append", "rrx", {}, HALYARD_CPU_KERNEL(rope_append_cpu)};
const KernelDef norm_rope_append_def = {"norm_rope_append", "rrrx", {}, HALYARD_CPU_KERNEL(norm_rope_append_cpu)};

constexpr auto append_at = static_cast<std::uint32_t>(offsetof(RopeFusedConstants, append));

template <bool interleaved>
Fused norm_into_rope(Parts p) {
  const Record &norm = p[0], &rope = p[1];
  RopeFusedConstants c = {};
  c.rope = constants_of<RopeConstants>(rope);
  c.norm = constants_of<NormConstants>(norm);
  c.interleaved = interleaved;
  if (norm.bindings[2] != rope.bindings[0] || c.norm.width != c.rope.head_dim) return {};
  return FusedDispatch{.kernel = &norm_rope_def,
                       .grid = rope.grid,
                       .bindings = {{0, 0}, {0, 1}, {1, 1}, {1, 2}},
                       .constants = c,
                       .shared_bytes = c.rope.head_dim * sizeof(float)};
}

/// The fused constants `c` with the append's. Whether the two agree on what a head is.
bool add_append(RopeFusedConstants& c, const Record& append) {
  c.append = constants_of<KvAppendConstants>(append);
  return c.append.rows == c.rope.rows && c.append.head_dim == c.rope.head_dim;
}

template <bool interleaved>
Fused rope_into_append(Parts p) {
  const Record &rope = p[0], &append = p[1];
  RopeFusedConstants c = {};
  c.rope = constants_of<RopeConstants>(rope);
  c.interleaved = interleaved;
  if (rope.bindings[2] != append.bindings[0] || !add_append(c, append)) return {};
  return FusedDispatch{.kernel = &rope_append_def,
                       .grid = rope.grid,
                       .bindings = {{0, 0}, {0, 1}, {1, 1}},
                       .constants = c,
                       .shared_bytes = c.rope.head_dim * sizeof(float),
                       .constants_at = {std::nullopt, append_at}};
}

Fused norm_rope_into_append(Parts p) {
  const Record &rope = p[0], &append = p[1];
  auto c = constants_of<RopeFusedConstants>(rope);
  if (rope.bindings[3] != append.bindings[0] || !add_append(c, append)) return {};
  return FusedDispatch{.kernel = &norm_rope_append_def,
                       .grid = rope.grid,
                       .bindings = {{0, 0}, {0, 1}, {0, 2}, {1, 1}},
                       .constants = c,
                       .shared_bytes = rope.shared_bytes,
                       .constants_at = {std::nullopt, append_at}};
}

}  // namespace

std::vector<FusionRule> rope_rules() {
  return {{{"rms_norm"}, "rope_half_split", norm_into_rope<false>},
          {{"rms_norm"}, "rope_interleaved", norm_into_rope<true>},
          {{"rope_half_split"}, "kv_append", rope_into_append<false>},
          {{"rope_interleaved"}, "kv_append", rope_into_append<true>},
          {{"norm_rope"}, "kv_append", norm_rope_into_append}};
}

}  // namespace halyard::ops
