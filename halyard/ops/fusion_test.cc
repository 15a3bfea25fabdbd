// Fused kernels against their parts, recorded as the ops record them: the same bytes, on every instruction set.
#include "halyard/ops/fusion.h"

#include <numeric>

#include "halyard/base/float16.h"
#include "halyard/hal/recording.h"
#include "halyard/ops/op_test.h"
#include "halyard/ops/ops.h"

namespace halyard::ops {
namespace {

using namespace testing;

Buffer bytes_of(const Buffer& b) { return must(b.view(0, DType::u8, {b.size_bytes()})); }

std::string names(const ComputeGraph& g) {
  std::string out;
  for (const Record& r : g.recording().records) out += fmt::format("{}{}", out.empty() ? "" : " ", r.kernel->def->name);
  return out;
}

/// Memory with values, some scratch and some not, for a recording.
class Bench {
 public:
  Bench(Device d, Random& r) : device(std::move(d)), random(r) {}
  /// Random values. Scratch: before the recording writes it, nothing; afterwards, nothing.
  Buffer in(Shape shape, float scale = 1) {
    return keep(put(device, shape, random.normal(shape.elements(), scale)), kept_);
  }
  Buffer scratch(Shape shape, DType t = DType::f32) { return keep(must(device.alloc(t, shape)), scratch_.windows); }
  Buffer scratch_bytes(std::size_t n) { return keep(must(device.alloc(DType::u8, {n})), scratch_.windows); }
  Buffer cache(DType t, Shape shape) { return keep(must(device.alloc(t, shape)), kept_); }
  Buffer numbers(Shape shape, const std::vector<std::int32_t>& values) {
    return keep(put(device, shape, values), kept_);
  }
  /// Pages for `t` positions and more, and slots for them that lie apart.
  Buffer pages(DType t, std::size_t heads, std::size_t dim) { return cache(t, {2, heads, kPageUnit, dim}); }
  Buffer slots(std::size_t t) {
    std::vector<std::int32_t> s(t);
    for (std::size_t i = 0; i < t; ++i) s[i] = static_cast<std::int32_t>((11 + 37 * i) % (2 * kPageUnit));
    return numbers({t}, s);
  }
  Buffer out_bytes(std::size_t n) { return keep(must(device.alloc(DType::u8, {n})), kept_); }

  /// What `record` records becomes `expected` when optimised, and leaves the same bytes.
  void expect_fused(const std::function<Result<void>(CommandEncoder&)>& record, const std::string& expected) {
    CommandEncoder e = must(device.command_encoder());
    e.start_capture();
    must(record(e));
    const ComputeGraph recorded = must(e.take_capture());
    const ComputeGraph fused = must(optimize(recorded, {scratch_, fusion_rules()})).graph;
    EXPECT_EQ(names(fused), expected);
    EXPECT_LE(fused.barriers(), recorded.barriers());
    const Contents before = contents();
    const Contents ours = replay(fused, before), plain = replay(recorded, before);
    for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(ours[i] == plain[i]) << "buffer " << i;
    EXPECT_NE(plain, before) << "nothing was computed";
  }

  Device device;
  Random& random;

 private:
  using Contents = std::vector<std::vector<std::uint8_t>>;
  static Buffer keep(Buffer b, std::vector<Buffer>& list) {
    list.push_back(b);
    return b;
  }
  Contents contents() const {
    Contents c;
    for (const Buffer& b : kept_) c.push_back(must(bytes_of(b).read<std::uint8_t>()));
    return c;
  }
  Contents replay(const ComputeGraph& g, const Contents& before) {
    for (std::size_t i = 0; i < kept_.size(); ++i)
      must(bytes_of(kept_[i]).write(std::span<const std::uint8_t>(before[i])));
    const Plan plan = must(g.compile());
    CommandEncoder e = must(device.command_encoder());
    must(e.replay(plan));
    must(e.commit_and_wait());
    return contents();
  }

  std::vector<Buffer> kept_;
  Scratch scratch_;
};

/// `body` on every instruction set, several times.
void on_every_isa(int times, const std::function<void(Bench&)>& body) {
  Random random;
  for (const Isa isa : isas()) {
    Device several = open(isa, 3);
    Device checked = must(Device::open("cpu", {.cpu = {.isa = isa}, .validate = true}));
    for (int i = 0; i < times; ++i) {
      SCOPED_TRACE(fmt::format("{}, {}", to_string(isa), i));
      Bench b(i % 3 ? several : checked, random);  // which sees to it that kernels write what they declare
      body(b);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

quant::MatrixView random_matrix(Bench& b, std::size_t n, std::size_t k, int bits, int group) {
  struct Memory {
    std::vector<std::uint8_t> data;
    std::vector<float> scales, biases;
  };
  const auto m = std::make_shared<Memory>();
  m->data.resize(n * k * static_cast<std::size_t>(bits) / 8);
  for (auto& x : m->data) x = static_cast<std::uint8_t>(b.random.engine() & 255U);
  m->scales = b.random.normal(n * k / static_cast<std::size_t>(group), 0.01F);
  m->biases = b.random.normal(m->scales.size(), 0.05F);
  quant::MatrixView v;
  v.name = "w";
  v.format = quant::Format::affine;
  v.n = n, v.k = k, v.bits = bits, v.group_size = group;
  v.data = std::as_bytes(std::span(m->data));
  v.scales = std::as_bytes(std::span(m->scales));
  v.biases = std::as_bytes(std::span(m->biases));
  v.owner = m;
  return v;
}
Weight random_weight(Bench& b, std::size_t n, std::size_t k, int bits, int group) {
  return must(Weight::load(b.device, random_matrix(b, n, k, bits, group), Precision::fast));
}

Buffer norm_weight(Bench& b, std::size_t n) {
  const std::vector<float> values = b.random.normal(n);
  std::vector<bf16> narrow(n);
  for (std::size_t i = 0; i < n; ++i) narrow[i] = to_bf16(values[i]);
  return b.random.below(2) ? put(b.device, {n}, values) : put(b.device, {n}, narrow);
}

TEST(Fusion, RmsNormIntoPack) {
  on_every_isa(6, [](Bench& b) {
    const std::size_t t = 1 + b.random.below(40), k = 32 * (1 + b.random.below(80));
    const Buffer x = b.in({t, k}), w = norm_weight(b, k), y = b.scratch({t, k}),
                 packed = b.out_bytes(packed_bytes(t, k));
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(rms_norm(e, x, w, y, 1e-6F));
          return pack_activations(e, y, packed);
        },
        "rms_norm_pack");
  });
}

TEST(Fusion, GatesIntoPack) {
  on_every_isa(9, [](Bench& b) {
    const std::size_t t = 1 + b.random.below(10), k = 32 * (1 + b.random.below(100)), kind = b.random.below(3);
    const Buffer gate = b.in({t, k}, 3), up = b.in({t, k}), g = b.scratch({t, k}), y = b.scratch({t, k});
    const Buffer packed = b.out_bytes(packed_bytes(t, k));
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          if (kind == 0) {
            HALYARD_TRY(silu_mul(e, gate, up, y));
          } else {
            HALYARD_TRY(gelu(e, gate, g, kind == 1 ? Gelu::exact : Gelu::tanh));
            HALYARD_TRY(b.random.below(2) ? mul(e, g, up, y) : mul(e, up, g, y));
          }
          return pack_activations(e, y, packed);
        },
        "gated_pack");
  });
}

TEST(Fusion, GeluIntoMul) {
  on_every_isa(4, [](Bench& b) {
    const std::size_t n = 1 + b.random.below(5000);
    const bool exact = b.random.below(2);
    Buffer gate = b.in({n}, 3);
    const Buffer up = b.in({n}), g = b.scratch({n}), out = b.in({n});
    std::vector<float> x = get<float>(gate);
    constexpr float extremes[] = {0.0F,   -0.0F,   INFINITY, -INFINITY, NAN, 3.4e38F, -3.4e38F,
                                  1e-45F, -1e-38F, 15,       -15,       104, -104};
    for (std::size_t i = 0; i < n; i += 1 + b.random.below(40)) x[i] = extremes[b.random.below(std::size(extremes))];
    must(gate.write<float>(x));
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(gelu(e, gate, g, exact ? Gelu::exact : Gelu::tanh));
          return mul(e, g, up, out);
        },
        exact ? "gelu_exact_mul_f32" : "gelu_tanh_mul_f32");
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(gelu(e, gate, g, Gelu::exact));
          return mul(e, g, g, out);
        },
        "gelu_exact_f32 mul_f32");
  });
}

TEST(Fusion, AddIntoRmsNormKeepsTheSum) {
  on_every_isa(6, [](Bench& b) {
    const std::size_t t = 1 + b.random.below(40), k = 1 + b.random.below(3000);
    const Buffer h = b.in({t, k}), x = b.in({t, k}), w = norm_weight(b, k), y = b.in({t, k});
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(add(e, h, x, h));
          return rms_norm(e, h, w, y, 1e-5F);
        },
        "add_rms_norm");
  });
}

struct Heads {
  std::size_t t, heads, dim;
  DType cache;
  RopeLayout layout;
};
Heads random_heads(Bench& b) {
  const DType types[] = {DType::f32, DType::f16, DType::bf16};
  const std::size_t t = 1 + b.random.below(9);
  return {t, 1 + b.random.below(6), 2 * (1 + b.random.below(70)), types[b.random.below(3)],
          b.random.below(2) ? RopeLayout::half_split : RopeLayout::interleaved};
}

TEST(Fusion, HeadsOnTheirWayIntoTheCache) {
  on_every_isa(12, [](Bench& b) {
    const Heads h = random_heads(b);
    const bool norm = b.random.below(2), append = !norm || b.random.below(2), in_place = b.random.below(2);
    const std::size_t pairs = 1 + b.random.below(h.dim / 2);
    const Buffer x = b.in({h.t, h.heads, h.dim}), angles = b.in({h.t, pairs, 2}), w = norm_weight(b, h.dim);
    const Buffer normed = b.scratch(x.shape()), turned = append ? b.scratch(x.shape()) : b.in(x.shape());
    const Buffer cache = b.pages(h.cache, h.heads, h.dim), slots = b.slots(h.t);
    const Buffer& to = append && in_place ? normed : turned;
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          if (norm) HALYARD_TRY(rms_norm(e, x, w, normed, 1e-6F));
          HALYARD_TRY(rope(e, norm ? normed : x, angles, to, h.layout));
          return append ? kv_append(e, to, cache, slots) : Result<void>();
        },
        append ? "heads_append" : "norm_rope");
  });
}

TEST(Fusion, AttentionIntoPack) {
  on_every_isa(6, [](Bench& b) {
    const DType types[] = {DType::f32, DType::f16, DType::bf16};
    const std::size_t t = 1 + b.random.below(7), kv = 1 + b.random.below(3), group = 1 + b.random.below(5);
    const std::size_t dim = 32 * (1 + b.random.below(4)), held = b.random.below(600), pages = (held + t + 63) / 64;
    const DType type = types[b.random.below(3)];
    const Buffer q = b.in({t, kv * group, dim}), out = b.scratch({t, kv * group, dim});
    const Buffer k = b.cache(type, {pages, kv, 64, dim}), v = b.cache(type, {pages, kv, 64, dim});
    std::vector<std::int32_t> order(pages);
    for (std::size_t i = 0; i < pages; ++i) order[i] = static_cast<std::int32_t>(pages - 1 - i);
    const KvBatch batch = {b.numbers({1, 4}, {0, static_cast<int>(t), static_cast<int>(held), 0}),
                           b.numbers({1, pages}, order)};
    const Buffer flat = must(out.view(0, DType::f32, {t, kv * group * dim}));
    const Buffer packed = b.out_bytes(packed_bytes(t, kv * group * dim));
    for (const Buffer& c : {k, v})
      run(b.device, [&](CommandEncoder& e) {
        return copy(e, put(b.device, c.shape(), b.random.normal(c.shape().elements())), c);
      });
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(attention(e, q, k, v, out, batch, {.scale = 0.1F, .window = b.random.below(3) * 50}));
          return pack_activations(e, flat, packed);
        },
        "attention_pack");
  });
}

struct ProductCase {
  std::size_t t, n, k;
  int bits, group;
  Weight weight;
};
ProductCase random_product(Bench& b, std::size_t t, bool whole_groups = false) {
  const int bits = std::array{3, 4, 8}[b.random.below(3)], group = b.random.below(2) ? 32 : 64;
  const std::size_t n = whole_groups ? 32 * (1 + b.random.below(6)) : 1 + b.random.below(150);
  const std::size_t k = static_cast<std::size_t>(group) * (1 + b.random.below(8));
  const int stored = bits == 3 ? 4 : bits;
  return {t, n, k, stored, group, random_weight(b, n, k, bits, group)};
}

TEST(Fusion, ProductIntoAdd) {
  on_every_isa(9, [](Bench& b) {
    const std::size_t kind = b.random.below(3);  // a bias; a residual; a residual beside a bias
    const ProductCase p = random_product(b, kind == 0 ? 1 : 1 + b.random.below(20));
    const Buffer x = b.in({p.t, p.k}), packed = b.scratch_bytes(packed_bytes(p.t, p.k)), y = b.scratch({p.t, p.n});
    const Buffer other = b.in({p.t, p.n}), out = kind == 0 ? b.in({p.t, p.n}) : other;
    const MatmulOptions options{.bias = kind == 2 ? b.in({p.n}) : Buffer()};
    const bool left = b.random.below(2);
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(pack_activations(e, x, packed));
          HALYARD_TRY(matmul(e, {x, packed}, p.weight, y, options));
          return left ? add(e, y, other, out) : add(e, other, y, out);
        },
        fmt::format("pack_activations matmul_affine{}_fast{}", p.bits, kind == 0 ? "" : "_add"));
  });
}

TEST(Fusion, GateAndUpIntoPack) {
  on_every_isa(9, [](Bench& b) {
    const ProductCase p = random_product(b, 1 + b.random.below(40), true);
    const Weight up_weight = random_weight(b, p.n, p.k, p.bits, p.group);
    const Buffer x = b.in({p.t, p.k}), gate = b.scratch({p.t, p.n}), up = b.scratch({p.t, p.n});
    const Buffer packed = b.scratch_bytes(packed_bytes(p.t, std::max(p.n, p.k)));  // used twice, as a model does
    const Buffer out = b.out_bytes(packed_bytes(p.t, p.n));
    const auto with_bias = [&] { return MatmulOptions{.bias = b.random.below(2) ? b.in({p.n}) : Buffer()}; };
    const MatmulOptions gate_options = with_bias(), up_options = with_bias();
    const Weight down = random_weight(b, 48, p.n, 4, 32);
    const Buffer y = b.in({p.t, 48});
    const auto form = [&](std::size_t k) { return must(packed.view(0, DType::u8, {packed_bytes(p.t, k)})); };
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(pack_activations(e, x, form(p.k)));
          HALYARD_TRY(matmul(e, {x, form(p.k)}, p.weight, gate, gate_options));
          HALYARD_TRY(matmul(e, {x, form(p.k)}, up_weight, up, up_options));
          HALYARD_TRY(silu_mul(e, gate, up, gate));
          HALYARD_TRY(pack_activations(e, gate, form(p.n)));
          return matmul(e, {gate, form(p.n)}, down, y);
        },
        fmt::format("pack_activations matmul_affine{}_gated_pack matmul_affine4_fast", p.bits));
  });
}

TEST(Fusion, ProductIntoHeads) {
  on_every_isa(12, [](Bench& b) {
    const DType types[] = {DType::f32, DType::f16, DType::bf16};
    const std::size_t t = 1 + b.random.below(b.random.below(2) ? 1 : 40), heads = 1 + b.random.below(4);
    const std::size_t dim = 16 * (1 + b.random.below(8)), pairs = 1 + b.random.below(dim / 2),
                      k = 64 * (1 + b.random.below(4));
    const int bits = b.random.below(2) ? 4 : 8;
    const bool turn = b.random.below(4), norm = turn && b.random.below(2), append = !turn || b.random.below(2);
    const RopeLayout layout = b.random.below(2) ? RopeLayout::half_split : RopeLayout::interleaved;
    const Weight w = random_weight(b, heads * dim, k, bits, 64);
    const MatmulOptions options{.bias = b.random.below(2) ? b.in({heads * dim}) : Buffer()};
    const Buffer x = b.in({t, k}), packed = b.scratch_bytes(packed_bytes(t, k)), angles = b.in({t, pairs, 2});
    const Buffer norm_by = norm_weight(b, dim), y = b.scratch({t, heads, dim}), out = b.in({t, heads, dim});
    const Buffer flat = must(y.view(0, DType::f32, {t, heads * dim}));
    const Buffer cache = b.pages(types[b.random.below(3)], heads, dim), slots = b.slots(t);
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(pack_activations(e, x, packed));
          HALYARD_TRY(matmul(e, {x, packed}, w, flat, options));
          if (norm) HALYARD_TRY(rms_norm(e, y, norm_by, y, 1e-6F));
          if (turn) HALYARD_TRY(rope(e, y, angles, append ? y : out, layout));
          return append ? kv_append(e, y, cache, slots) : Result<void>();
        },
        fmt::format("pack_activations matmul_affine{}_heads{}", bits, append ? "_append" : ""));
  });
}

TEST(Fusion, LeavesExpertsAndWhatTheyAreSortedBy) {
  on_every_isa(6, [](Bench& b) {
    const std::size_t t = 1 + b.random.below(30), experts = 1 + b.random.below(9), k = 1 + b.random.below(experts);
    const std::size_t hidden = 64 * (1 + b.random.below(3)), inner = 32 * (1 + b.random.below(4)), pairs = t * k;
    const int bits = b.random.below(2) ? 4 : 8;
    const auto weight = [&](std::size_t rows, std::size_t columns) {
      std::vector<quant::MatrixView> all;
      for (std::size_t i = 0; i < experts; ++i) all.push_back(random_matrix(b, rows, columns, bits, 32));
      return must(Weight::load_experts(b.device, all, Precision::fast));
    };
    const Weight gate = weight(inner, hidden), up = weight(inner, hidden), down = weight(hidden, inner);
    const Buffer x = b.in({t, hidden}), logits = b.in({t, experts}), out = b.in({t, hidden});
    const Buffer ids = b.scratch({t, k}, DType::i32), shares = b.scratch({t, k}),
                 order = b.scratch({pairs}, DType::i32);
    const Buffer places = b.scratch({t, k}, DType::i32), starts = b.scratch({experts + 1}, DType::i32);
    const Buffer sorted = b.scratch({pairs, hidden}), g = b.scratch({pairs, inner}), u = b.scratch({pairs, inner});
    const Buffer y = b.scratch({pairs, hidden});
    const Buffer of_hidden = b.scratch_bytes(packed_bytes(pairs, hidden)),
                 of_inner = b.scratch_bytes(packed_bytes(pairs, inner));
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(expert_choice(e, logits, ids, shares, true));
          HALYARD_TRY(expert_order(e, ids, order, places, starts));
          HALYARD_TRY(gather_rows(e, x, order, sorted));
          HALYARD_TRY(pack_activations(e, sorted, of_hidden));
          HALYARD_TRY(matmul_experts(e, {sorted, of_hidden}, gate, starts, g));
          HALYARD_TRY(matmul_experts(e, {sorted, of_hidden}, up, starts, u));
          HALYARD_TRY(silu_mul(e, g, u, g));
          HALYARD_TRY(pack_activations(e, g, of_inner));
          HALYARD_TRY(matmul_experts(e, {g, of_inner}, down, starts, y));
          HALYARD_TRY(expert_sum(e, y, places, shares, out));
          return add(e, out, x, out);
        },
        fmt::format("expert_choice expert_order gather_rows pack_activations experts_affine{0}_fast "
                    "experts_affine{0}_fast gated_pack "
                    "experts_affine{0}_fast expert_sum add_f32",
                    bits));
  });
}

TEST(Fusion, LeavesAMixerOfStates) {
  on_every_isa(6, [](Bench& b) {
    const std::size_t t = 2 + b.random.below(20), heads = 2, dim = 16, n = 1 + b.random.below(40), taps = 4,
                      inner = heads * dim;
    const std::size_t channels = inner + 2 * n;
    const Buffer x = b.in({t, channels}), dt = b.in({t, heads}), gate = b.in({t, inner}), w = b.in({taps, channels});
    const Buffer a = b.in({heads}), d = b.in({heads}), bias = b.in({heads}), norm = b.in({inner});
    const Buffer inputs = b.in({2, taps - 1, channels}), states = b.in({2, heads, dim, n});
    const Buffer mixed = b.scratch({t, channels}), y = b.scratch({t, inner}), normed = b.scratch({t, inner}),
                 half = b.scratch({t, inner});
    const Buffer packed = b.out_bytes(packed_bytes(t, inner));
    const SlotBatch batch = {b.numbers({1, 4}, {0, static_cast<int>(t), 0, 0}), b.numbers({1}, {1}),
                             b.numbers({1}, {0})};
    b.expect_fused(
        [&](CommandEncoder& e) -> Result<void> {
          HALYARD_TRY(causal_conv(e, x, w, Buffer(), inputs, mixed, batch));
          HALYARD_TRY(ssd(e, mixed, dt, a, d, bias, states, y, batch, {}));
          HALYARD_TRY(gated_norm(e, y, gate, norm, normed, 1e-5F, 1));
          HALYARD_TRY(scale(e, normed, 0.5F, half));
          return pack_activations(e, half, packed);
        },
        "causal_conv ssd gated_norm scale_f32 pack_activations");
  });
}

TEST(Fusion, LeavesWhatItsKernelsCannotDo) {
  Random random;
  Bench b(any_device(), random);
  const std::size_t t = 3, n = 48;
  const Weight w = random_weight(b, n, 64, 4, 32);
  const Buffer x = b.in({t, 64}), packed = b.scratch_bytes(packed_bytes(t, 64)), y = b.scratch({t, n});
  const Buffer other = b.in({t, n}), out = b.in({t, n});
  b.expect_fused(
      [&](CommandEncoder& e) -> Result<void> {  // an addend of several positions is no bias
        HALYARD_TRY(pack_activations(e, x, packed));
        HALYARD_TRY(matmul(e, {x, packed}, w, y));
        return add(e, y, other, out);
      },
      "pack_activations matmul_affine4_fast add_f32");
  const Buffer heads = b.in({t, 2, 32}), angles = b.in({t, 4, 2}), rows = b.scratch({t, 2, 32}), weight = b.in({64});
  const Buffer wide = must(rows.view(0, DType::f32, {t, 64}));
  const Buffer turned = b.in({t, 2, 32}), flat = must(heads.view(0, DType::f32, {t, 64}));
  b.expect_fused(
      [&](CommandEncoder& e) -> Result<void> {  // rows that are not heads
        HALYARD_TRY(rms_norm(e, flat, weight, wide, 1e-6F));
        return rope(e, rows, angles, turned, RopeLayout::half_split);
      },
      "rms_norm rope_half_split");
}

}  // namespace
}  // namespace halyard::ops
