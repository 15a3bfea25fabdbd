#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/norm/kernels.h"
#include "halyard/ops/rope/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {

HeadConstants turned_heads(const Record& rope, bool interleaved) {
  const auto c = constants_of<RopeConstants>(rope);
  HeadConstants h = {};
  h.rows = c.rows;
  h.heads = c.heads;
  h.head_dim = c.head_dim;
  h.pairs = c.pairs;
  h.turn = 1;
  h.interleaved = interleaved;
  return h;
}

bool append_heads(HeadConstants& h, const Record& append) {
  const auto c = constants_of<KvAppendConstants>(append);
  h.pages = c.pages;
  h.cache = c.cache;
  h.append = 1;
  return h.rows == c.rows && h.heads == c.pages.n_kv_heads && h.head_dim == c.pages.head_dim;
}

namespace {

const KernelDef norm_rope_def = {"norm_rope", "rrrrw", {.cpu = &cpu::heads}};
const KernelDef heads_append_def = {"heads_append", "rrrrx", {.cpu = &cpu::heads}};

template <bool interleaved> Fused norm_into_rope(Parts p) {
  const Record &norm = p[0], &rope = p[1];
  const auto n = constants_of<NormConstants>(norm);
  HeadConstants h = turned_heads(rope, interleaved);
  if (norm.bindings[2] != rope.bindings[0] || n.width != h.head_dim) return {};
  h.norm = 1;
  h.eps = n.eps;
  h.weight = n.weight;
  return Joined{.bindings = {{0, 0}, {0, 1}, {1, 1}, {1, 1}, {1, 2}}, .constants = h};
}

Fused into_append(Parts p, HeadConstants h, std::vector<Joined::From> bindings) {
  if (p[0].bindings[p[0].kernel->def->access.size() - 1] != p[1].bindings[0] || !append_heads(h, p[1])) return {};
  return Joined{.bindings = std::move(bindings), .constants = h};
}
template <bool interleaved> Fused rope_into_append(Parts p) {
  return into_append(p, turned_heads(p[0], interleaved), {{0, 0}, {0, 1}, {0, 1}, {1, 1}, {1, 2}});
}
Fused norm_rope_into_append(Parts p) {
  return into_append(p, constants_of<HeadConstants>(p[0]), {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}});
}

}  // namespace

std::vector<FusionRule> rope_rules() {
  return {{{"rms_norm"}, "rope_half_split", &norm_rope_def, norm_into_rope<false>},
          {{"rms_norm"}, "rope_interleaved", &norm_rope_def, norm_into_rope<true>},
          {{"rope_half_split"}, "kv_append", &heads_append_def, rope_into_append<false>},
          {{"rope_interleaved"}, "kv_append", &heads_append_def, rope_into_append<true>},
          {{"norm_rope"}, "kv_append", &heads_append_def, norm_rope_into_append}};
}

}  // namespace halyard::ops
