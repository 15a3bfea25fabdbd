#include "halyard/ops/matmul/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/float16.h"
#include "halyard/hal/cpu/isa.h"
#include "halyard/ops/matmul/kernels.h"
#include "halyard/quant/affine.h"
#include "halyard/testing/paths.h"
#include "halyard/testing/safetensors_lite.h"

namespace halyard::ops {
namespace {

using quant::Format;
using quant::MatrixView;

constexpr unsigned seed = 20240611;

// A weight's format, without its shape.
struct Kind {
  DType dtype;
  int bits = 0, group = 0;  // 0: dense
};

std::string name_of(const Kind& f) {
  return f.bits ? fmt::format("affine{}_g{}_{}", f.bits, f.group, to_string(f.dtype))
                : fmt::format("dense_{}", to_string(f.dtype));
}

void append(std::vector<std::byte>& bytes, DType type, float x) {
  const f16 h = to_f16(x);
  const bf16 b = to_bf16(x);
  const void* p = type == DType::f16    ? static_cast<const void*>(&h)
                  : type == DType::bf16 ? static_cast<const void*>(&b)
                                        : &x;
  const auto* from = static_cast<const std::byte*>(p);
  bytes.insert(bytes.end(), from, from + size_of(type));
}

// A view of memory that starts at an odd address, as a file's tensors may.
struct Memory {
  std::vector<std::byte> data{std::byte{0}}, scales{std::byte{0}}, biases{std::byte{0}};
};

MatrixView view_of(const Kind& f, std::size_t n, std::size_t k, const std::shared_ptr<Memory>& memory) {
  MatrixView m;
  m.name = name_of(f);
  m.format = f.bits ? Format::affine : Format::dense;
  m.n = n, m.k = k, m.dtype = f.dtype, m.bits = f.bits, m.group_size = f.group;
  m.data = std::span<const std::byte>(memory->data).subspan(1);
  if (f.bits)
    m.scales = std::span<const std::byte>(memory->scales).subspan(1),
    m.biases = std::span<const std::byte>(memory->biases).subspan(1);
  m.owner = memory;
  return m;
}

MatrixView random_matrix(const Kind& f, std::size_t n, std::size_t k, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 0.05F);
  const auto memory = std::make_shared<Memory>();
  if (!f.bits) {
    for (std::size_t i = 0; i < n * k; ++i) append(memory->data, f.dtype, normal(random));
    return view_of(f, n, k, memory);
  }
  for (std::size_t i = 0; i < n * k * static_cast<std::size_t>(f.bits) / 8; ++i)
    memory->data.push_back(static_cast<std::byte>(random()));
  const float steps = static_cast<float>((1 << f.bits) - 1);
  for (std::size_t i = 0; i < n * k / static_cast<std::size_t>(f.group); ++i) {
    const float scale = (0.2F + std::abs(normal(random))) / steps * (random() % 2 ? 1.0F : -1.0F);
    append(memory->scales, f.dtype, scale);
    append(memory->biases, f.dtype, -scale * steps * (0.5F + normal(random)));
  }
  return view_of(f, n, k, memory);
}

std::vector<float> random_rows(std::size_t t, std::size_t k, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(t * k);
  for (float& v : x) v = normal(random);
  return x;
}

std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (int i = 0; i <= static_cast<int>(best_isa()); ++i) all.push_back(static_cast<Isa>(i));
  return all;
}

Device open(Isa isa, int threads = 2) {
  auto device = Device::open("cpu", {.cpu = {.threads = threads, .isa = isa}});
  EXPECT_TRUE(device) << device.error().str();
  return *device;
}

Buffer upload(Device& d, std::span<const float> x, Shape shape) {
  Buffer b = d.alloc(DType::f32, shape).value();
  EXPECT_TRUE(b.write<float>(x));
  return b;
}

std::vector<std::uint8_t> packed_form(Device& d, std::span<const float> x, std::size_t t, std::size_t k) {
  const Buffer packed = d.alloc(DType::u8, {packed_bytes(t, k)}).value();
  CommandEncoder e = d.command_encoder().value();
  EXPECT_TRUE(pack_activations(e, upload(d, x, {t, k}), packed));
  EXPECT_TRUE(e.commit_and_wait());
  return packed.read<std::uint8_t>().value();
}

struct RunOptions {
  std::span<const float> bias = {};
  std::span<const float> accumulate_on = {};
};

std::vector<float> run(Device& d, const Weight& w, std::span<const float> x, std::size_t t, RunOptions options = {}) {
  const std::size_t n = w.rows(), k = w.columns();
  CommandEncoder e = d.command_encoder().value();
  Activations a{upload(d, x, {t, k}), {}};
  if (w.wants_packed()) {
    a.packed = d.alloc(DType::u8, {packed_bytes(t, k)}).value();
    EXPECT_TRUE(pack_activations(e, a.x, a.packed));
  }
  Buffer out = d.alloc(DType::f32, {t, n}).value();
  MatmulOptions o;
  if (!options.bias.empty()) o.bias = upload(d, options.bias, {n});
  if (!options.accumulate_on.empty()) {
    EXPECT_TRUE(out.write<float>(options.accumulate_on));
    o.accumulate = true;
  }
  const auto recorded = matmul(e, a, w, out, o);
  EXPECT_TRUE(recorded) << recorded.error().str();
  const auto done = e.commit_and_wait();
  EXPECT_TRUE(done) << done.error().str();
  return out.read<float>().value();
}

// The greatest |y - reference| in units of magnitude, over the first t rows.
double distance(const std::vector<float>& y, const quant::ReferenceProduct& r) {
  double worst = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double d = std::abs(static_cast<double>(y[i]) - r.y[i]);
    if (!(d <= worst * r.magnitude[i])) worst = r.magnitude[i] > 0 ? d / r.magnitude[i] : d > 0 ? INFINITY : worst;
    if (std::isnan(d)) return NAN;
  }
  return worst;
}

// The activations as the fast kernels see them.
std::vector<float> rounded_as(const std::vector<std::uint8_t>& packed, std::size_t elements) {
  std::vector<float> x(elements);
  for (std::size_t g = 0; g < elements / 32; ++g) {
    PackedGroup group;
    std::memcpy(&group, packed.data() + g * sizeof group, sizeof group);
    for (std::size_t i = 0; i < 32; ++i) x[g * 32 + i] = group.scale * static_cast<float>(group.q[i]);
  }
  return x;
}
std::vector<float> rounded_to_bf16(std::vector<float> x) {
  for (float& v : x) v = to_float(to_bf16(v));
  return x;
}

class Products : public ::testing::TestWithParam<Kind> {};

constexpr double exact_tolerance = 1e-5, fast_tolerance = 4e-3;

TEST_P(Products, agree_with_the_reference_on_every_instruction_set_and_shape) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const Kind kind = GetParam();
  std::mt19937 random(seed);
  std::vector<Device> devices;
  for (const Isa isa : isas()) devices.push_back(open(isa));
  const std::vector<std::size_t> widths = kind.bits ? std::vector<std::size_t>{32, 96, 160, 2080}
                                                    : std::vector<std::size_t>{1, 7, 32, 80, 96, 160, 255, 2080};
  for (std::size_t k : widths)
    for (const std::size_t n : {1, 15, 16, 17, 100}) {
      if (kind.bits)
        k = (k + static_cast<std::size_t>(kind.group) - 1) / static_cast<std::size_t>(kind.group) *
            static_cast<std::size_t>(kind.group);
      constexpr std::size_t most = 64;
      const MatrixView m = random_matrix(kind, n, k, random);
      const std::vector<float> x = random_rows(most, k, random);
      const auto exact = reference_product(m, x, most);
      const bool bf16_dots = !kind.bits && kind.dtype == DType::bf16;
      quant::ReferenceProduct rounded = exact;
      if (kind.bits) rounded = reference_product(m, rounded_as(packed_form(devices[0], x, most, k), x.size()), most);
      if (bf16_dots) rounded = reference_product(m, rounded_to_bf16(x), most);

      for (Device& d : devices)
        for (const Precision p : {Precision::exact, Precision::fast}) {
          SCOPED_TRACE(
              fmt::format("{} {} n {} k {}", d.capabilities().isa, p == Precision::fast ? "fast" : "exact", n, k));
          const auto w = Weight::load(d, m, p);
          ASSERT_TRUE(w) << w.error().str();
          EXPECT_EQ(w->wants_packed(), kind.bits && p == Precision::fast);
          for (const std::size_t t : {1, 2, 3, 5, 17, 33, 64}) {
            const auto y = run(d, *w, std::span(x).first(t * k), t);
            if (p == Precision::exact) {
              ASSERT_LE(distance(y, exact), exact_tolerance) << "T " << t;
              continue;
            }
            // Few columns average the rounding of the activations less, so their distance is only held to what was rounded.
            if (k >= 160) { ASSERT_LE(distance(y, exact), fast_tolerance) << "T " << t; }
            const bool dots = bf16_dots && d.capabilities().isa == "avx512bf16";
            ASSERT_LE(distance(y, kind.bits || dots ? rounded : exact), 2e-5) << "T " << t;
          }
        }
    }
}

std::vector<Kind> kinds() {
  std::vector<Kind> all = {{DType::f32}, {DType::f16}, {DType::bf16}};
  for (const DType t : {DType::f32, DType::f16, DType::bf16})
    for (const int bits : {4, 8})
      for (const int group : {32, 64, 128}) all.push_back({t, bits, group});
  for (const int bits : {2, 3, 5, 6}) all.push_back({DType::bf16, bits, 64});
  return all;
}
INSTANTIATE_TEST_SUITE_P(kinds, Products, ::testing::ValuesIn(kinds()), [](const auto& i) { return name_of(i.param); });

TEST(PackActivations, is_the_same_on_every_instruction_set) {
  std::mt19937 random(seed);
  const std::vector<float> x = random_rows(9, 320, random);
  Device plain = open(Isa::plain);
  const auto expected = packed_form(plain, x, 9, 320);
  for (const Isa isa : isas()) {
    Device d = open(isa);
    EXPECT_EQ(packed_form(d, x, 9, 320), expected) << to_string(isa);
  }
}

TEST(PackActivations, rounds_to_the_nearest_of_255_steps) {
  std::vector<float> x(64);
  for (std::size_t i = 0; i < 32; ++i) x[i] = static_cast<float>(i) - 12.5F;
  x[40] = -1e-30F;
  Device d = open(best_isa());
  const auto packed = packed_form(d, x, 1, 64);
  PackedGroup g[2];
  std::memcpy(g, packed.data(), sizeof g);
  EXPECT_FLOAT_EQ(g[0].scale, 18.5F / 127);
  int sum = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_NEAR(g[0].scale * static_cast<float>(g[0].q[i]), x[i], 18.5F / 254);
    sum += g[0].q[i];
  }
  EXPECT_FLOAT_EQ(g[0].sum, g[0].scale * static_cast<float>(sum));
  EXPECT_EQ(g[1].q[8], -127);
  EXPECT_FLOAT_EQ(g[1].sum, -1e-30F);
}

// Rows and columns that strain a format: zeros, huge, tiny, one outlier, all negative.
void strain(std::vector<float>& x, std::size_t k) {
  const std::size_t rows = x.size() / k;
  for (std::size_t t = 0; t < rows; ++t)
    for (std::size_t j = 0; j < k; ++j) {
      float& v = x[t * k + j];
      if (t == 0) v = 0;
      if (t == 1) v *= 1e20F;
      if (t == 2) v *= 1e-30F;
      if (t == 3) v = j == k / 2 ? 1e6F : v;
      if (t == 4) v = -std::abs(v);
      if (t == 5) v = j % 64 < 32 ? 0.0F : v;
      if (t == 6) v *= 1e-42F;
    }
}

// Σ_j |x[row, j]|
double l1(const std::vector<float>& x, std::size_t row, std::size_t k) {
  double sum = 0;
  for (std::size_t j = 0; j < k; ++j) sum += std::abs(static_cast<double>(x[row * k + j]));
  return sum;
}

// The greatest magnitude in a row of weights.
double greatest(const MatrixView& m, std::size_t row) {
  std::vector<float> w(m.k);
  dequantise_row(m, row, 0, w);
  double most = 0;
  for (const float v : w) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

TEST(Matmul, holds_the_tolerance_for_extreme_values) {
  std::mt19937 random(seed);
  constexpr std::size_t n = 24, k = 256, t = 8;
  std::vector<float> x = random_rows(t, k, random), values = random_rows(n, k, random);
  strain(x, k);
  strain(values, k);
  for (float& v : values) v = std::clamp(v, -1e8F, 1e8F);
  MatrixView dense;
  dense.name = "extreme";
  dense.n = n, dense.k = k;
  dense.data = std::as_bytes(std::span(values));
  dense.owner = std::make_shared<int>();  // this frame owns it
  for (const int bits : {4, 8}) {
    const auto q = quant::quantise_affine(dense, bits, 64).value();
    MatrixView affine = dense;
    affine.format = Format::affine;
    affine.bits = bits, affine.group_size = 64;
    affine.data = q.data, affine.scales = q.scales, affine.biases = q.biases;
    for (const Isa isa : isas())
      for (const bool quantised : {false, true}) {
        const MatrixView& m = quantised ? affine : dense;
        Device d = open(isa);
        for (const Precision p : {Precision::exact, Precision::fast}) {
          const auto y = run(d, Weight::load(d, m, p).value(), x, t);
          // An outlier among the activations rounds its group's others away, so the fast form is held to what was rounded;
          // an outlier among the weights makes s·q and b great where their sum is not, and the terms' size is what counts.
          const bool integers = quantised && p == Precision::fast;
          const auto reference = reference_product(m, integers ? rounded_as(packed_form(d, x, t, k), t * k) : x, t);
          for (std::size_t i = 0; i < y.size(); ++i) {
            double tolerance = exact_tolerance * reference.magnitude[i] + 1e-36;
            if (integers) tolerance += 1e-6 * l1(x, i / n, k) * greatest(m, i % n);
            EXPECT_LE(std::abs(static_cast<double>(y[i]) - reference.y[i]), tolerance)
                << to_string(isa) << " bits " << (quantised ? bits : 0) << " fast " << (p == Precision::fast) << " row "
                << i / n << " output " << i % n;
          }
        }
      }
  }
}

TEST(Matmul, not_a_number_stays_in_its_row) {
  std::mt19937 random(seed);
  constexpr std::size_t n = 20, k = 128, t = 3;
  const MatrixView m = random_matrix({DType::bf16, 4, 64}, n, k, random);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> x = random_rows(t, k, random);
    x[k + 70] = bad;
    for (const Isa isa : isas()) {
      Device d = open(isa);
      for (const Precision p : {Precision::exact, Precision::fast}) {
        const auto y = run(d, Weight::load(d, m, p).value(), x, t);
        for (std::size_t i = 0; i < y.size(); ++i)
          EXPECT_EQ(std::isfinite(y[i]), i / n != 1) << to_string(isa) << " at " << i;
      }
    }
  }
}

std::vector<Kind> few_kinds() {
  return {{DType::f32}, {DType::f16}, {DType::bf16}, {DType::bf16, 4, 64}, {DType::f16, 8, 32}};
}

TEST(Matmul, is_byte_identical_for_any_number_of_threads) {
  std::mt19937 random(seed);
  constexpr std::size_t n = 1000, k = 1152, t = 101;
  const std::vector<float> x = random_rows(t, k, random);
  for (const Kind& kind : few_kinds()) {
    const MatrixView m = random_matrix(kind, n, k, random);
    for (const Precision p : {Precision::exact, Precision::fast}) {
      std::vector<float> first;
      for (const int threads : {1, 2, 5}) {
        Device d = open(best_isa(), threads);
        const auto y = run(d, Weight::load(d, m, p).value(), x, t);
        if (first.empty()) first = y;
        EXPECT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(float)), 0) << m.name << " threads " << threads;
      }
    }
  }
}

TEST(Matmul, rows_do_not_depend_on_how_positions_are_split) {
  std::mt19937 random(seed);
  constexpr std::size_t n = 70, k = 2176, t = 61;
  const std::vector<float> x = random_rows(t, k, random), bias = random_rows(1, n, random);
  for (const Isa isa : isas())
    for (const Kind& kind : few_kinds()) {
      const MatrixView m = random_matrix(kind, n, k, random);
      Device d = open(isa);
      for (const Precision p : {Precision::exact, Precision::fast}) {
        const Weight w = Weight::load(d, m, p).value();
        const auto whole = run(d, w, x, t, {.bias = bias});
        for (const std::size_t step : {1, 2, 5, 7, 13, 50})
          for (std::size_t at = 0; at < t; at += step) {
            const std::size_t rows = std::min(step, t - at);
            const auto part = run(d, w, std::span(x).subspan(at * k, rows * k), rows, {.bias = bias});
            ASSERT_EQ(std::memcmp(part.data(), whole.data() + at * n, part.size() * sizeof(float)), 0)
                << to_string(isa) << ' ' << m.name << " fast " << (p == Precision::fast) << " step " << step << " at "
                << at;
          }
      }
    }
}

TEST(Matmul, adds_a_bias_and_what_was_there) {
  std::mt19937 random(seed);
  constexpr std::size_t n = 37, k = 192, t = 14;
  const std::vector<float> x = random_rows(t, k, random), bias = random_rows(1, n, random),
                           before = random_rows(t, n, random);
  for (const Isa isa : isas())
    for (const Kind& kind : few_kinds()) {
      const MatrixView m = random_matrix(kind, n, k, random);
      Device d = open(isa);
      for (const Precision p : {Precision::exact, Precision::fast}) {
        const Weight w = Weight::load(d, m, p).value();
        const auto y = run(d, w, x, t), with_bias = run(d, w, x, t, {.bias = bias}),
                   onto = run(d, w, x, t, {.accumulate_on = before}),
                   both = run(d, w, x, t, {.bias = bias, .accumulate_on = before});
        for (std::size_t i = 0; i < y.size(); ++i) {
          EXPECT_NEAR(with_bias[i], y[i] + bias[i % n], 1e-5) << m.name << " at " << i;
          EXPECT_NEAR(onto[i], y[i] + before[i], 1e-5) << m.name << " at " << i;
          EXPECT_NEAR(both[i], y[i] + bias[i % n] + before[i], 1e-5) << m.name << " at " << i;
        }
      }
    }
}

// Views of one matrix after the other: in memory of their own, or in one piece, as checkpoints have them.
std::vector<MatrixView> random_experts(const Kind& kind, std::size_t count, std::size_t n, std::size_t k,
                                       bool one_piece, std::mt19937& random) {
  std::vector<MatrixView> all;
  if (!one_piece) {
    for (std::size_t e = 0; e < count; ++e) all.push_back(random_matrix(kind, n, k, random));
    return all;
  }
  const MatrixView whole = random_matrix(kind, count * n, k, random);
  for (std::size_t e = 0; e < count; ++e) {
    MatrixView m = whole;
    m.n = n;
    for (auto part : {&MatrixView::data, &MatrixView::scales, &MatrixView::biases}) {
      const std::size_t bytes = (whole.*part).size() / count;
      m.*part = (whole.*part).subspan(e * bytes, bytes);
    }
    all.push_back(m);
  }
  return all;
}

Result<void> record_experts(CommandEncoder& e, Device& d, const Weight& w, std::span<const float> x, std::size_t t,
                            const std::vector<std::int32_t>& starts, const Buffer& out) {
  Activations a{upload(d, x, {t, w.columns()}), {}};
  if (w.wants_packed()) {
    a.packed = d.alloc(DType::u8, {packed_bytes(t, w.columns())}).value();
    EXPECT_TRUE(pack_activations(e, a.x, a.packed));
  }
  const Buffer s = d.alloc(DType::i32, {starts.size()}).value();
  EXPECT_TRUE(Buffer(s).write<std::int32_t>(starts));
  return matmul_experts(e, a, w, s, out);
}

// Where each expert's rows begin: at random, many with none; all rows are one's; none are anybody's.
std::vector<std::vector<std::int32_t>> random_starts(std::size_t experts, std::size_t t, std::mt19937& random) {
  const auto rows = static_cast<std::int32_t>(t);
  std::vector<std::vector<std::int32_t>> all;
  for (int i = 0; i < 2; ++i) {
    auto& starts = all.emplace_back(experts + 1);
    for (auto& s : starts) s = static_cast<std::int32_t>(random() % (t + 1));
    std::sort(starts.begin(), starts.end());
    if (i == 0) starts.front() = 0, starts.back() = rows;
  }
  const std::size_t one = random() % experts;
  auto& of_one = all.emplace_back(experts + 1, 0);
  for (std::size_t e = one + 1; e <= experts; ++e) of_one[e] = rows;
  all.emplace_back(experts + 1, 0);
  return all;
}

TEST(MatmulExperts, is_the_product_of_each_experts_rows) {
  std::mt19937 random(seed);
  std::vector<Kind> kinds = few_kinds();
  kinds.insert(kinds.end(), {{DType::bf16, 3, 64}, {DType::f32, 6, 32}, {DType::bf16, 8, 64}});
  bool one_piece = false;
  for (const Kind& kind : kinds)
    for (const std::size_t experts : {1, 2, 7})
      for (const std::size_t t : {1, 3, 40, 301}) {
        const std::size_t n = t == 40 ? 300 : 1 + random() % 40, k = 64 * (1 + random() % 4);
        one_piece = !one_piece;
        const auto matrices = random_experts(kind, experts, n, k, one_piece, random);
        const std::vector<float> x = random_rows(t, k, random);
        const auto cuts = random_starts(experts, t, random);
        for (const Isa isa : isas())
          for (const Precision p : {Precision::exact, Precision::fast}) {
            Device d = open(isa), single = open(isa, 1);
            const Weight w = Weight::load_experts(d, matrices, p).value(),
                         alone = Weight::load_experts(single, matrices, p).value();
            ASSERT_EQ(w.experts(), experts);
            for (const auto& starts : cuts) {
              SCOPED_TRACE(fmt::format("{} {} of {}, [{}, {}], {} rows, fast {}, one piece {}", to_string(isa),
                                       name_of(kind), experts, n, k, t, p == Precision::fast, one_piece));
              const Buffer out = upload(d, std::vector<float>(t * n, 77), {t, n});
              const Buffer of_single = upload(single, std::vector<float>(t * n, 77), {t, n});
              CommandEncoder e = d.command_encoder().value(), f = single.command_encoder().value();
              ASSERT_TRUE(record_experts(e, d, w, x, t, starts, out));
              ASSERT_TRUE(record_experts(f, single, alone, x, t, starts, of_single));
              const auto done = e.commit_and_wait();
              ASSERT_TRUE(done) << done.error().str();
              ASSERT_TRUE(f.commit_and_wait());
              std::vector<float> expected(t * n, 77);
              for (std::size_t i = 0; i < experts; ++i) {
                const auto first = static_cast<std::size_t>(starts[i]),
                           rows = static_cast<std::size_t>(starts[i + 1]) - first;
                if (rows == 0) continue;
                const auto y =
                    run(d, Weight::load(d, matrices[i], p).value(), std::span(x).subspan(first * k, rows * k), rows);
                std::copy(y.begin(), y.end(), expected.begin() + static_cast<std::ptrdiff_t>(first * n));
              }
              const auto y = out.read<float>().value(), z = of_single.read<float>().value();
              ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0);
              ASSERT_EQ(std::memcmp(z.data(), expected.data(), z.size() * sizeof(float)), 0) << "with one thread";
            }
          }
      }
}

TEST(MatmulExperts, fails_where_rows_are_not_there) {
  std::mt19937 random(seed);
  constexpr std::size_t t = 5, n = 16, k = 64;
  for (const Kind& kind : {Kind{DType::f32}, Kind{DType::bf16, 4, 64}}) {
    Device d = open(best_isa());
    const Weight w = Weight::load_experts(d, random_experts(kind, 2, n, k, false, random), Precision::fast).value();
    const auto failure = [&](const std::vector<std::int32_t>& starts) {
      CommandEncoder e = d.command_encoder().value();
      const Buffer out = d.alloc(DType::f32, {t, n}).value();
      EXPECT_TRUE(record_experts(e, d, w, random_rows(t, k, random), t, starts, out));
      const auto done = e.commit_and_wait();
      return done ? "succeeded" : done.error().str();
    };
    EXPECT_EQ(failure({0, 3, 5}), "succeeded");
    EXPECT_NE(failure({0, 3, 6}).find("begin at 3, the next one's at 6"), std::string::npos);
    EXPECT_NE(failure({0, 4, 2}).find("begin at 4, the next one's at 2"), std::string::npos);
    EXPECT_NE(failure({-1, 4, 5}).find("begin at -1"), std::string::npos);
    EXPECT_NE(failure({0, INT32_MAX, INT32_MAX}).find("begin at 0"), std::string::npos);
  }
}

class MatmulGolden : public ::testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(MatmulGolden, products_are_as_near_as_the_goldens_ask) {
  const auto [bits, group] = GetParam();
  const auto path = testing::golden(fmt::format("quant/affine-b{}-g{}.safetensors", bits, group));
  if (path.empty()) GTEST_SKIP() << "golden quant/affine-b" << bits << "-g" << group << " is not here";
  const auto file = testing::read_safetensors_lite(path.string());
  const auto x = file.at("x").as<float>();
  const std::size_t t = file.at("x").shape[0];
  constexpr std::size_t outlier_row = 2;
  for (const std::string type : {"f32", "f16", "bf16"}) {
    MatrixView m;
    m.name = type;
    m.format = Format::affine;
    m.bits = bits, m.group_size = group;
    m.n = file.at("w_" + type).shape[0], m.k = file.at("w_" + type).shape[1];
    m.dtype = file.at("scales_" + type).dtype;
    m.data = file.at("q_" + type).bytes, m.scales = file.at("scales_" + type).bytes,
    m.biases = file.at("biases_" + type).bytes;
    m.owner = std::make_shared<int>();  // this frame owns it
    quant::ReferenceProduct golden = reference_product(m, x, t);
    const auto y = file.at("y_" + type).as<float>();
    golden.y.assign(y.begin(), y.end());
    for (double& g : golden.magnitude) g += 1e-30;
    for (const Isa isa : isas()) {
      Device d = open(isa);
      EXPECT_LE(distance(run(d, Weight::load(d, m, Precision::exact).value(), x, t), golden), exact_tolerance)
          << to_string(isa);
      const auto fast = run(d, Weight::load(d, m, Precision::fast).value(), x, t);
      for (std::size_t i = 0; i < fast.size(); ++i) {
        // In the row with one outlier a single product is the whole sum: the rounding of its activation shows in full.
        if (i % m.n == outlier_row) continue;
        EXPECT_LE(std::abs(fast[i] - golden.y[i]), fast_tolerance * golden.magnitude[i])
            << to_string(isa) << " at " << i;
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(bits_and_groups, MatmulGolden,
                         ::testing::Combine(::testing::Values(2, 3, 4, 5, 6, 8), ::testing::Values(32, 64, 128)));

struct Refusals : ::testing::Test {
  Refusals() : device(open(best_isa())), encoder(device.command_encoder().value()) {
    std::mt19937 random(seed);
    dense = Weight::load(device, random_matrix({DType::f32}, 16, 64, random), Precision::fast).value();
    affine = Weight::load(device, random_matrix({DType::f32, 4, 32}, 16, 64, random), Precision::fast).value();
    device.reset_stats();
  }
  Buffer alloc(DType t, Shape s) { return device.alloc(t, s).value(); }
  // Expects a refusal whose message holds all of `words`, and nothing recorded.
  void refused(const Result<void>& r, std::initializer_list<const char*> words) {
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, Errc::invalid_argument);
    for (const char* w : words) EXPECT_NE(r.error().str().find(w), std::string::npos) << r.error().str();
    EXPECT_EQ(device.stats().dispatches, 0U);
  }
  Device device;
  CommandEncoder encoder;
  Weight dense, affine;
};

TEST_F(Refusals, of_products_say_what_was_expected_and_what_came) {
  const Buffer x = alloc(DType::f32, {3, 64}), out = alloc(DType::f32, {3, 16});
  refused(matmul(encoder, {x, {}}, Weight(), out), {"never loaded"});
  refused(matmul(encoder, {Buffer(), {}}, dense, out), {"matmul: x: expected f32", "a null buffer"});
  refused(matmul(encoder, {alloc(DType::f32, {3, 65}), {}}, dense, out), {"expected [3, 64]", "[3, 65]"});
  refused(matmul(encoder, {alloc(DType::i32, {3, 64}), {}}, dense, out), {"expected f32", "i32 [3, 64]"});
  refused(matmul(encoder, {alloc(DType::f32, {64}), {}}, dense, out), {"expected 2 axes", "[64]"});
  refused(matmul(encoder, {x, {}}, dense, Buffer()), {"out: expected f32", "a null buffer"});
  refused(matmul(encoder, {x, {}}, dense, alloc(DType::f32, {2, 16})), {"[3, 16]", "[2, 16]"});
  refused(matmul(encoder, {x, {}}, dense, alloc(DType::bf16, {3, 16})), {"out: expected f32", "bf16"});
  refused(matmul(encoder, {x, {}}, dense, out, {.bias = alloc(DType::f32, {17})}), {"bias", "[16]", "[17]"});
  refused(matmul(encoder, {x, {}}, affine, out), {"packed: expected u8", "a null buffer"});
  refused(matmul(encoder, {x, alloc(DType::u8, {7})}, affine, out), {"packed: expected [240]", "[7]"});
  refused(matmul(encoder, {x, {}}, dense, x.view(0, DType::f32, {3, 16}).value()), {"memory apart from x"});
}

TEST_F(Refusals, of_experts_say_what_was_expected_and_what_came) {
  std::mt19937 random(seed);
  const auto of = [&](const Kind& kind) {
    return Weight::load_experts(device, random_experts(kind, 2, 16, 64, false, random), Precision::fast).value();
  };
  const Weight experts = of({DType::f32}), packed = of({DType::f32, 4, 32});
  const Buffer x = alloc(DType::f32, {3, 64}), out = alloc(DType::f32, {3, 16}), starts = alloc(DType::i32, {3});
  refused(matmul(encoder, {x, {}}, experts, out), {"matmul: the weight is 2 experts"});
  refused(matmul_experts(encoder, {x, {}}, Weight(), starts, out), {"matmul_experts: the weight is no experts'"});
  refused(matmul_experts(encoder, {x, {}}, dense, starts, out), {"matmul_experts: the weight is no experts'"});
  refused(matmul_experts(encoder, {Buffer(), {}}, experts, starts, out),
          {"matmul_experts: x: expected f32", "a null buffer"});
  refused(matmul_experts(encoder, {alloc(DType::f32, {3, 65}), {}}, experts, starts, out),
          {"x: expected [3, 64]", "[3, 65]"});
  refused(matmul_experts(encoder, {x, {}}, packed, starts, out), {"packed: expected u8", "a null buffer"});
  refused(matmul_experts(encoder, {x, alloc(DType::u8, {7})}, packed, starts, out), {"packed: expected [240]", "[7]"});
  refused(matmul_experts(encoder, {x, {}}, experts, Buffer(), out), {"starts: expected i32", "a null buffer"});
  refused(matmul_experts(encoder, {x, {}}, experts, alloc(DType::i32, {2}), out), {"starts: expected [3], got [2]"});
  refused(matmul_experts(encoder, {x, {}}, experts, alloc(DType::f32, {3}), out),
          {"starts: expected i32, got f32 [3]"});
  refused(matmul_experts(encoder, {x, {}}, experts, starts, Buffer()), {"out: expected f32", "a null buffer"});
  refused(matmul_experts(encoder, {x, {}}, experts, starts, alloc(DType::f32, {3, 17})),
          {"out: expected [3, 16], got [3, 17]"});
  refused(matmul_experts(encoder, {x, {}}, experts, starts, x.view(0, DType::f32, {3, 16}).value()),
          {"out: expected memory apart from x"});
  refused(matmul_experts(encoder, {x, {}}, experts, out.view(0, DType::i32, {3}).value(), out),
          {"out: expected memory apart from starts"});
  Device other = open(best_isa());
  refused(matmul_experts(encoder, {x, {}}, experts, other.alloc(DType::i32, {3}).value(), out),
          {"memory of another device"});
}

TEST_F(Refusals, of_packing_say_what_was_expected_and_what_came) {
  refused(pack_activations(encoder, Buffer(), alloc(DType::u8, {80})), {"x: expected f32", "a null buffer"});
  refused(pack_activations(encoder, alloc(DType::f32, {1, 48}), alloc(DType::u8, {80})),
          {"groups of 32 columns", "[1, 48]"});
  refused(pack_activations(encoder, alloc(DType::f32, {1, 64}), alloc(DType::u8, {79})), {"expected [80]", "[79]"});
  refused(pack_activations(encoder, alloc(DType::f32, {1, 64}), alloc(DType::f32, {80})), {"expected u8", "f32 [80]"});
}

TEST(WeightLoad, refuses_a_matrix_that_contradicts_itself) {
  std::mt19937 random(seed);
  Device d = open(best_isa());
  MatrixView m = random_matrix({DType::bf16, 4, 64}, 4, 128, random);
  m.data = m.data.first(100);
  const auto w = Weight::load(d, m, Precision::fast);
  ASSERT_FALSE(w);
  EXPECT_NE(w.error().str().find("takes 256 bytes, got 100"), std::string::npos) << w.error().str();
}

TEST(WeightLoad, refuses_experts_of_several_shapes) {
  std::mt19937 random(seed);
  Device d = open(best_isa());
  const auto said = [&](const std::vector<MatrixView>& all) {
    const auto w = Weight::load_experts(d, all, Precision::fast);
    return w ? "loaded" : w.error().str();
  };
  const auto matrix = [&](const Kind& kind, std::size_t n, const char* name) {
    MatrixView m = random_matrix(kind, n, 128, random);
    m.name = name;
    return m;
  };
  const MatrixView a = matrix({DType::bf16, 4, 64}, 4, "a");
  EXPECT_EQ(said({a, a}), "loaded");
  EXPECT_NE(said({}).find("experts without a matrix"), std::string::npos);
  for (const MatrixView& b :
       {matrix({DType::bf16, 4, 64}, 5, "b"), matrix({DType::bf16, 8, 64}, 4, "b"),
        matrix({DType::bf16, 4, 32}, 4, "b"), matrix({DType::f16, 4, 64}, 4, "b"), matrix({DType::bf16}, 4, "b")})
    EXPECT_NE(said({a, b}).find("a and b are experts of one layer: expected one shape and format"), std::string::npos)
        << said({a, b});
  MatrixView cut = a;
  cut.data = cut.data.first(100);
  EXPECT_NE(said({a, cut}).find("takes 256 bytes, got 100"), std::string::npos) << said({a, cut});
}

TEST(WeightLoad, counts_the_bytes_that_a_row_reads) {
  std::mt19937 random(seed);
  Device d = open(best_isa());
  const MatrixView m = random_matrix({DType::bf16, 4, 64}, 32, 128, random);
  const std::size_t stored = m.data.size() + m.scales.size() + m.biases.size();
  EXPECT_EQ(Weight::load(d, m, Precision::exact)->bytes(), stored);
  EXPECT_EQ(Weight::load(d, m, Precision::fast)->bytes(), stored);
}

}  // namespace
}  // namespace halyard::ops
