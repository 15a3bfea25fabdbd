#include "halyard/ops/embedding/embedding.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "halyard/base/float16.h"
#include "halyard/quant/affine.h"

namespace halyard::ops {
namespace {

using quant::MatrixView;

struct Tables {
  explicit Tables(std::size_t n, std::size_t k) {
    std::mt19937 random(7);
    values.resize(n * k);
    for (float& v : values) v = std::normal_distribution<float>()(random);
    dense.name = "embed_tokens";
    dense.n = n, dense.k = k;
    dense.data = std::as_bytes(std::span(values));
    dense.owner = std::make_shared<int>();  // the Tables own it
    packed = quant::quantise_affine(dense, 4, 32).value();
    affine = dense;
    affine.format = quant::Format::affine;
    affine.bits = 4, affine.group_size = 32;
    affine.data = packed.data, affine.scales = packed.scales, affine.biases = packed.biases;
  }
  std::vector<float> values;
  quant::AffineMatrix packed;
  MatrixView dense, affine;
};

Buffer ids_of(Device& d, const std::vector<std::int32_t>& ids) {
  Buffer b = d.alloc(DType::i32, {ids.size()}).value();
  EXPECT_TRUE(b.write<std::int32_t>(ids));
  return b;
}

void expect_rows(Device& d, const MatrixView& m, const std::vector<std::int32_t>& ids) {
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const Weight table = Weight::load(d, m, precision).value();
    const Buffer out = d.alloc(DType::f32, {ids.size(), m.k}).value();
    CommandEncoder e = d.command_encoder().value();
    const auto recorded = embedding(e, ids_of(d, ids), table, out);
    ASSERT_TRUE(recorded) << recorded.error().str();
    ASSERT_TRUE(e.commit_and_wait());
    const auto got = out.read<float>().value();
    std::vector<float> row(m.k);
    for (std::size_t t = 0; t < ids.size(); ++t) {
      quant::dequantise_row(m, static_cast<std::size_t>(ids[t]), 0, row);
      EXPECT_EQ(std::memcmp(row.data(), got.data() + t * m.k, m.k * sizeof(float)), 0)
          << "position " << t << ", " << m.bits << " bits in groups of " << m.group_size << " of "
          << to_string(m.dtype);
    }
  }
}

/// The same values come of a table in its file's layout and in that of fast products.
TEST(Embedding, looks_up_rows_in_every_layout) {
  Device d = Device::open("cpu").value();
  std::mt19937 random(8);
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    for (const std::size_t n : {1U, 11U, 16U, 37U}) {
      std::vector<std::int32_t> ids;
      for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(random() % n));
      ids.push_back(static_cast<std::int32_t>(n - 1));
      Tables tables(n, 384);
      std::vector<std::byte> narrow(n * 384 * size_of(type));
      for (std::size_t i = 0; i < n * 384; ++i) {
        const float v = tables.values[i];
        if (type == DType::f32) std::memcpy(&narrow[4 * i], &v, 4);
        const f16 half = to_f16(v);
        const bf16 brain = to_bf16(v);
        if (type != DType::f32)
          std::memcpy(&narrow[2 * i], type == DType::f16 ? static_cast<const void*>(&half) : &brain, 2);
      }
      MatrixView dense = tables.dense;
      dense.dtype = type;
      dense.data = narrow;
      expect_rows(d, dense, ids);
      for (const int bits : {2, 3, 4, 5, 6, 8}) {
        for (const int group : {32, 64, 128}) {
          const quant::AffineMatrix packed = quant::quantise_affine(dense, bits, group).value();
          MatrixView affine = dense;
          affine.format = quant::Format::affine;
          affine.bits = bits, affine.group_size = group;
          affine.data = packed.data, affine.scales = packed.scales, affine.biases = packed.biases;
          expect_rows(d, affine, ids);
        }
      }
    }
  }
}

TEST(Embedding, fails_on_an_id_outside_the_table) {
  const Tables tables(11, 96);
  Device d = Device::open("cpu").value();
  const Weight table = Weight::load(d, tables.affine, Precision::exact).value();
  for (const std::int32_t bad : {-1, 11, 2000000000}) {
    CommandEncoder e = d.command_encoder().value();
    ASSERT_TRUE(embedding(e, ids_of(d, {1, bad}), table, d.alloc(DType::f32, {2, 96}).value()));
    const auto done = e.commit_and_wait();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::kernel_failed);
    EXPECT_NE(done.error().str().find("token id " + std::to_string(bad) + " is outside the table of 11 rows"),
              std::string::npos)
        << done.error().str();
  }
}

TEST(Embedding, refuses_wrong_arguments_and_records_nothing) {
  const Tables tables(11, 96);
  Device d = Device::open("cpu").value();
  const Weight table = Weight::load(d, tables.dense, Precision::exact).value();
  CommandEncoder e = d.command_encoder().value();
  const Buffer ids = ids_of(d, {1, 2}), out = d.alloc(DType::f32, {2, 96}).value();
  const auto refused = [&](const Result<void>& r, const char* words) {
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().str().find(words), std::string::npos) << r.error().str();
    EXPECT_EQ(d.stats().dispatches, 0U);
  };
  refused(embedding(e, ids, Weight(), out), "never loaded");
  refused(embedding(e, Buffer(), table, out), "ids is a null buffer");
  refused(embedding(e, ids, table, Buffer()), "out is a null buffer");
  refused(embedding(e, out, table, out), "ids must be i32 [T], got f32 [2, 96]");
  refused(embedding(e, ids, table, d.alloc(DType::f32, {3, 96}).value()), "out must be f32 [2, 96], got f32 [3, 96]");
}

}  // namespace
}  // namespace halyard::ops
