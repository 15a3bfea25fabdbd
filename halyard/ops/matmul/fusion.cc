#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/rules.h"
#include "halyard/ops/weight/layout.h"

namespace halyard::ops {
namespace {

const KernelDef gated_pack4_def = {"matmul_affine4_gated_pack", "rrrrrw", {.cpu = &cpu::matmul_affine4_gated_pack}};
const KernelDef gated_pack8_def = {"matmul_affine8_gated_pack", "rrrrrw", {.cpu = &cpu::matmul_affine8_gated_pack}};
const KernelDef heads4_def = {"matmul_affine4_heads", "rrrrrrw", {.cpu = &cpu::matmul_affine4_heads}};
const KernelDef heads8_def = {"matmul_affine8_heads", "rrrrrrw", {.cpu = &cpu::matmul_affine8_heads}};
const KernelDef append4_def = {"matmul_affine4_heads_append", "rrrrrrx", {.cpu = &cpu::matmul_affine4_heads}};
const KernelDef append8_def = {"matmul_affine8_heads_append", "rrrrrrx", {.cpu = &cpu::matmul_affine8_heads}};

/// out = x·w + other, `other` being the left or the right side of the add; none where it is both, or reads only a part.
std::optional<std::uint32_t> added_to(Parts p) {
  const Record &matmul = p[0], &add = p[1];
  const bool left = add.bindings[0] == matmul.bindings[3], right = add.bindings[1] == matmul.bindings[3];
  if (left == right) return {};
  return left ? 1U : 0U;
}
/// `other` is what the product is added to. Fast affine products add it, and a bias, to the finished sum, as the op does; the
/// others begin with them.
Fused product_into_sum(Parts p) {
  const auto other = added_to(p);
  if (!other || p[1].bindings[2] != p[1].bindings[*other]) return {};
  auto c = constants_of<MatmulArgs>(p[0]);
  c.accumulate = 1;
  return Joined{.bindings = {{0, 0}, {0, 1}, {0, 2}, {1, 2}}, .constants = c};
}
/// `other` is a bias of one position.
Fused product_and_bias(Parts p) {
  const auto other = added_to(p);
  auto c = constants_of<MatmulArgs>(p[0]);
  if (!other || p[1].bindings[2] == p[1].bindings[*other] || c.has_bias || c.positions != 1) return {};
  c.has_bias = 1;
  return Joined{.bindings = {{0, 0}, {0, 1}, {1, *other}, {1, 2}}, .constants = c};
}

Fused gate_and_up_into_pack(Parts p) {
  const Record &gate = p[0], &up = p[1], &pack = p[2];
  const GatedArgs c = {constants_of<MatmulArgs>(gate), constants_of<MatmulArgs>(up),
                       constants_of<GatedPackConstants>(pack).gate};
  const Binding *g = gate.bindings, *u = up.bindings;
  if (pack.bindings[0] != g[3] || pack.bindings[1] != u[3] || g[0] != u[0]) return {};
  if (c.gate.n != c.up.n || c.gate.k != c.up.k || c.gate.n % 32 != 0) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}}, .constants = c};
}

/// A product and the steps that `h` names. `weight`, `cos_sin`, `slots`, `out`: where they are bound.
Fused product_heads(Parts p, const HeadConstants& h, Joined::From weight, Joined::From cos_sin, Joined::From slots,
                    Joined::From out) {
  const Record& matmul = p[0];
  const ProductHeadsArgs c = {constants_of<MatmulArgs>(matmul), h};
  if (matmul.bindings[3] != p[1].bindings[0] || h.head_dim % panel_rows != 0) return {};
  if (h.heads * h.head_dim != c.product.n || h.heads * c.product.positions != h.rows) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {0, 2}, weight, cos_sin, slots, out}, .constants = c};
}
template <bool interleaved> Fused product_into_rope(Parts p) {
  return product_heads(p, turned_heads(p[1], interleaved), {0, 1}, {1, 1}, {1, 1}, {1, 2});
}
Fused product_into_norm_rope(Parts p) {
  return product_heads(p, constants_of<HeadConstants>(p[1]), {1, 1}, {1, 2}, {1, 2}, {1, 4});
}
Fused product_into_append(Parts p) {
  const auto c = constants_of<KvAppendConstants>(p[1]);
  HeadConstants h = {};
  h.rows = c.rows;
  h.heads = c.pages.n_kv_heads;
  h.head_dim = c.pages.head_dim;
  return append_heads(h, p[1]) ? product_heads(p, h, {0, 1}, {0, 1}, {1, 1}, {1, 2}) : Fused();
}
Fused heads_into_append(Parts p) {
  const Record &heads = p[0], &append = p[1];
  auto c = constants_of<ProductHeadsArgs>(heads);
  if (heads.bindings[6] != append.bindings[0] || !append_heads(c.heads, append)) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 1}, {1, 2}}, .constants = c};
}

/// The rules of fast affine products of one width.
std::vector<FusionRule> rules_of(const Layout& product, const KernelDef& gated, const KernelDef& heads,
                                 const KernelDef& append) {
  const std::string_view store = product.store.name;
  return {{{store}, "add_f32", &product.accumulate, product_into_sum},
          {{store}, "add_f32", &product.store, product_and_bias},
          {{store, store}, "gated_pack", &gated, gate_and_up_into_pack},
          {{store}, "rope_half_split", &heads, product_into_rope<false>},
          {{store}, "rope_interleaved", &heads, product_into_rope<true>},
          {{store}, "norm_rope", &heads, product_into_norm_rope},
          {{store}, "kv_append", &append, product_into_append},
          {{heads.name}, "kv_append", &append, heads_into_append}};
}

}  // namespace

std::vector<FusionRule> matmul_rules() {
  std::vector<FusionRule> rules = rules_of(affine4_panels, gated_pack4_def, heads4_def, append4_def);
  const std::vector<FusionRule> wide = rules_of(affine8_panels, gated_pack8_def, heads8_def, append8_def);
  rules.insert(rules.end(), wide.begin(), wide.end());
  return rules;
}

}  // namespace halyard::ops
