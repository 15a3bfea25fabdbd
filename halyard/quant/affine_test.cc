#include "halyard/quant/affine.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "halyard/testing/paths.h"
#include "halyard/testing/safetensors_lite.h"

namespace halyard::quant {
namespace {

using testing::LiteTensor;

struct Golden {
  std::string name;  // of the dtype
  MatrixView dense, affine;
  LiteTensor w, q, scales, biases, dq, y, x;
};

// The three dtypes of one golden file; none where it is absent.
std::vector<std::unique_ptr<Golden>> goldens(int bits, int group) {
  std::vector<std::unique_ptr<Golden>> all;
  const auto path =
      testing::golden("quant/affine-b" + std::to_string(bits) + "-g" + std::to_string(group) + ".safetensors");
  if (path.empty()) return all;
  auto file = testing::read_safetensors_lite(path.string());
  for (const std::string name : {"f32", "f16", "bf16"}) {
    auto g = std::make_unique<Golden>();
    g->name = name;
    g->w = file.at("w_" + name), g->q = file.at("q_" + name), g->scales = file.at("scales_" + name);
    g->biases = file.at("biases_" + name), g->dq = file.at("dq_" + name), g->y = file.at("y_" + name),
    g->x = file.at("x");
    g->dense.name = g->affine.name = name;
    g->dense.n = g->affine.n = g->w.shape[0];
    g->dense.k = g->affine.k = g->w.shape[1];
    g->dense.dtype = g->affine.dtype = g->w.dtype;
    g->dense.data = g->w.bytes;
    g->affine.format = Format::affine;
    g->affine.bits = bits, g->affine.group_size = group;
    g->affine.data = g->q.bytes, g->affine.scales = g->scales.bytes, g->affine.biases = g->biases.bytes;
    all.push_back(std::move(g));
  }
  return all;
}

class AffineGolden : public ::testing::TestWithParam<std::tuple<int, int>> {
 protected:
  void SetUp() override {
    all_ = goldens(std::get<0>(GetParam()), std::get<1>(GetParam()));
    if (all_.empty()) GTEST_SKIP() << "golden quant/affine-b" << std::get<0>(GetParam()) << " is not here";
  }
  std::vector<std::unique_ptr<Golden>> all_;
};

std::size_t first_difference(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  if (a.size() != b.size()) return 0;
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin());
}

TEST_P(AffineGolden, quantises_as_mlx_does) {
  for (const auto& g : all_) {
    const auto made = quantise_affine(g->dense, g->affine.bits, g->affine.group_size);
    ASSERT_TRUE(made) << made.error().str();
    EXPECT_EQ(made->scales, g->scales.bytes)
        << g->name << " at byte " << first_difference(made->scales, g->scales.bytes);
    EXPECT_EQ(made->biases, g->biases.bytes)
        << g->name << " at byte " << first_difference(made->biases, g->biases.bytes);
    EXPECT_EQ(made->data, g->q.bytes) << g->name << " at byte " << first_difference(made->data, g->q.bytes);
  }
}

TEST_P(AffineGolden, dequantises_as_mlx_does) {
  for (const auto& g : all_) {
    ASSERT_TRUE(validate(g->affine));
    const std::vector<std::byte> dq = dequantise(g->affine);
    const auto expected = g->dq.as<float>();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) wrong += element(g->affine.dtype, dq.data(), i) != expected[i];
    EXPECT_EQ(wrong, 0U) << g->name << " of " << expected.size();
  }
}

TEST_P(AffineGolden, reference_product_is_the_goldens) {
  for (const auto& g : all_) {
    const auto r = reference_product(g->affine, g->x.as<float>(), g->x.shape[0]);
    const auto y = g->y.as<float>();
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_LE(std::abs(r.y[i] - static_cast<double>(y[i])), 1e-6 * r.magnitude[i] + 1e-30) << g->name << " at " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(bits_and_groups, AffineGolden,
                         ::testing::Combine(::testing::Values(2, 3, 4, 5, 6, 8), ::testing::Values(32, 64, 128)));

MatrixView small_affine(std::vector<std::byte>& memory) {
  memory.resize(1024);
  MatrixView m;
  m.name = "w";
  m.format = Format::affine;
  m.n = 2, m.k = 64, m.bits = 4, m.group_size = 32, m.dtype = DType::bf16;
  m.data = std::span(memory).first(64);
  m.scales = m.biases = std::span(memory).first(8);
  return m;
}

std::string message(const MatrixView& m) {
  const auto r = validate(m);
  return r ? "" : r.error().str();
}

TEST(MatrixView, validation_says_what_is_wrong) {
  std::vector<std::byte> memory;
  MatrixView m = small_affine(memory);
  EXPECT_EQ(message(m), "");
  m.bits = 7;
  EXPECT_NE(message(m).find("got 7"), std::string::npos);
  m = small_affine(memory), m.group_size = 48;
  EXPECT_NE(message(m).find("got 48"), std::string::npos);
  m = small_affine(memory), m.k = 80;
  EXPECT_NE(message(m).find("80 columns"), std::string::npos);
  m = small_affine(memory), m.scales = m.scales.first(6);
  EXPECT_NE(message(m).find("takes 8 bytes, got 6"), std::string::npos) << message(m);
  m = small_affine(memory), m.data = m.data.first(63);
  EXPECT_NE(message(m).find("takes 64 bytes, got 63"), std::string::npos) << message(m);
  m = small_affine(memory), m.dtype = DType::i32;
  EXPECT_NE(message(m).find("got i32"), std::string::npos);
  m = small_affine(memory), m.n = 0;
  EXPECT_NE(message(m).find("no elements"), std::string::npos);
  m = small_affine(memory), m.n = std::size_t{1} << 60;
  EXPECT_NE(message(m).find("larger than memory"), std::string::npos) << message(m);
}

TEST(AffineQuantise, refuses_what_it_cannot_pack) {
  std::vector<std::byte> memory(4 * 64);
  MatrixView m;
  m.name = "w", m.n = 1, m.k = 64, m.data = memory;
  EXPECT_TRUE(quantise_affine(m, 4, 32));
  EXPECT_FALSE(quantise_affine(m, 7, 32));
  EXPECT_FALSE(quantise_affine(m, 4, 48));
  EXPECT_FALSE(quantise_affine(m, 4, 128));
}

}  // namespace
}  // namespace halyard::quant
