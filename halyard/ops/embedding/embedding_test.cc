#include "halyard/ops/embedding/embedding.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

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

TEST(Embedding, looks_up_rows_of_dense_and_affine_tables) {
  const Tables tables(11, 96);
  Device d = Device::open("cpu").value();
  const std::vector<std::int32_t> ids = {10, 0, 3, 3, 7};
  for (const MatrixView& m : {tables.dense, tables.affine}) {
    const EmbeddingTable table = EmbeddingTable::load(d, m).value();
    EXPECT_EQ(table.rows(), 11U);
    EXPECT_EQ(table.width(), 96U);
    const Buffer out = d.alloc(DType::f32, {ids.size(), 96}).value();
    CommandEncoder e = d.command_encoder().value();
    ASSERT_TRUE(embedding(e, ids_of(d, ids), table, out));
    ASSERT_TRUE(e.commit_and_wait());
    const auto got = out.read<float>().value();
    std::vector<float> row(96);
    for (std::size_t t = 0; t < ids.size(); ++t) {
      quant::dequantise_row(m, static_cast<std::size_t>(ids[t]), 0, row);
      EXPECT_EQ(std::memcmp(row.data(), got.data() + t * 96, 96 * sizeof(float)), 0) << "position " << t;
    }
  }
}

TEST(Embedding, fails_on_an_id_outside_the_table) {
  const Tables tables(11, 96);
  Device d = Device::open("cpu").value();
  const EmbeddingTable table = EmbeddingTable::load(d, tables.affine).value();
  for (const std::int32_t bad : {-1, 11, 2000000000}) {
    CommandEncoder e = d.command_encoder().value();
    ASSERT_TRUE(embedding(e, ids_of(d, {1, bad}), table, d.alloc(DType::f32, {2, 96}).value()));
    const auto done = e.commit_and_wait();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::kernel_failed);
    EXPECT_NE(done.error().str().find("token id " + std::to_string(bad) + " is outside the table of 11 rows"), std::string::npos)
        << done.error().str();
  }
}

TEST(Embedding, refuses_wrong_arguments_and_records_nothing) {
  const Tables tables(11, 96);
  Device d = Device::open("cpu").value();
  const EmbeddingTable table = EmbeddingTable::load(d, tables.dense).value();
  CommandEncoder e = d.command_encoder().value();
  const Buffer ids = ids_of(d, {1, 2}), out = d.alloc(DType::f32, {2, 96}).value();
  const auto refused = [&](const Result<void>& r, const char* words) {
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().str().find(words), std::string::npos) << r.error().str();
    EXPECT_EQ(d.stats().dispatches, 0U);
  };
  refused(embedding(e, ids, EmbeddingTable(), out), "never loaded");
  refused(embedding(e, Buffer(), table, out), "ids is a null buffer");
  refused(embedding(e, ids, table, Buffer()), "out is a null buffer");
  refused(embedding(e, out, table, out), "ids must be i32 [T], got f32 [2, 96]");
  refused(embedding(e, ids, table, d.alloc(DType::f32, {3, 96}).value()), "out must be f32 [2, 96], got f32 [3, 96]");
}

}  // namespace
}  // namespace halyard::ops
