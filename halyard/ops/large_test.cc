// Sizes beyond 32 bits, in memory that is mapped and hardly touched: right, or refused.
#include <sys/mman.h>

#include <gtest/gtest.h>

#include "halyard/ops/matmul/cpu.h"
#include "halyard/ops/op_test.h"
#include "halyard/ops/ops.h"

namespace halyard::ops {
namespace {

using namespace testing;

/// Zeros, of which only what is written takes memory.
std::shared_ptr<std::byte> zeros(std::size_t bytes) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  ::madvise(p, bytes, MADV_HUGEPAGE);
  return {static_cast<std::byte*>(p), [bytes](std::byte* q) { ::munmap(q, bytes); }};
}

class Large : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef HALYARD_SANITIZED
    GTEST_SKIP() << "a sanitizer's checks of so many reads take minutes";
#endif
    const char* validate = std::getenv("HALYARD_VALIDATE");
    if (validate && std::string_view(validate) != "0") GTEST_SKIP() << "validation reads all of the memory";
    device = must(Device::open("cpu", {.cpu = {.threads = 2, .pin = false}, .memory_budget = SIZE_MAX}));
  }
  /// Claims a size for a page of memory: for what must be refused before it is read.
  Buffer claim(DType t, Shape s) { return must(device->import_host(page, page.get(), t, s)); }
  std::optional<Buffer> alloc(DType t, Shape s) {
    auto b = device->alloc(t, s);
    return b ? std::optional(*b) : std::nullopt;
  }
  std::optional<Device> device;
  std::shared_ptr<std::byte> page = zeros(4096);
  std::string skipped;  // a shape that the system could not map
};

constexpr std::size_t operator""_pow2(unsigned long long n) { return std::size_t{1} << n; }

TEST_F(Large, ArgmaxReadsRowsBeyondTheFirst2To32Elements) {
  constexpr std::size_t rows = 5, width = 30_pow2;
  const auto memory = zeros(rows * width * sizeof(float));
  if (!memory) GTEST_SKIP() << "the system maps no 20 GiB";
  auto* x = reinterpret_cast<float*>(memory.get());
  for (std::size_t r = 0; r < rows; ++r) x[r * width + width - 1 - r] = 1;
  const Buffer out = must(device->alloc(DType::i32, {rows}));
  const Buffer in = must(device->import_host(memory, x, DType::f32, {rows, width}));
  run(*device, [&](CommandEncoder& e) { return argmax(e, in, out); });
  for (std::size_t r = 0; r < rows; ++r) EXPECT_EQ(get<std::int32_t>(out)[r], static_cast<std::int32_t>(width - 1 - r));
}

TEST_F(Large, EmbeddingFindsRowsBeyondTheFirst2To32Elements) {
  constexpr std::size_t n = 20_pow2, k = 13_pow2;
  const auto memory = zeros(n * k * sizeof(float));
  if (!memory) GTEST_SKIP() << "the system maps no 32 GiB";
  reinterpret_cast<float*>(memory.get())[(n - 1) * k + 7] = 3;
  quant::MatrixView m;
  m.name = "large", m.n = n, m.k = k, m.owner = memory, m.data = {memory.get(), n * k * sizeof(float)};
  const Weight table = must(Weight::load(*device, m, Precision::exact));
  const Buffer ids = put<std::int32_t>(*device, {2}, {0, n - 1}), out = must(device->alloc(DType::f32, {2, k}));
  run(*device, [&](CommandEncoder& e) { return embedding(e, ids, table, out); });
  EXPECT_EQ(get<float>(out)[k + 7], 3);
  EXPECT_EQ(get<float>(out)[7], 0);
}

TEST_F(Large, AttentionFindsWhatWasAppendedBeyondTheFirst2To32Elements) {
  constexpr std::size_t rows = 64, pages = 30_pow2 / rows, dim = 8;
  const auto cache = alloc(DType::f16, {pages, 1, rows, dim});
  if (!cache) GTEST_SKIP() << "the system maps no 16 GiB";
  const Buffer x = put<float>(*device, {2, 1, dim}, std::vector<float>(2 * dim, 5)),
               out = must(device->alloc(DType::f32, {2, 1, dim}));
  run(*device, [&](CommandEncoder& e) -> Result<void> {
    HALYARD_TRY(kv_append(e, x, *cache, put<std::int32_t>(*device, {2}, {30_pow2 - 2, 30_pow2 - 1})));
    const KvBatch batch = {put<std::int32_t>(*device, {1, 4}, {0, 2, rows - 2, 1}),
                           put<std::int32_t>(*device, {1, 1}, {pages - 1})};
    return attention(e, x, *cache, *cache, out, batch, {});
  });
  EXPECT_EQ(get<float>(out), std::vector<float>(2 * dim, 5));
}

TEST_F(Large, AProductsTileLiesBeyondTheFirst2To32Outputs) {
  constexpr std::uint64_t row = 31_pow2, n = 4;
  const auto out = zeros((row + 2) * n * sizeof(float)), x = zeros((row + 2) * sizeof(float));
  if (!out || !x) GTEST_SKIP() << "the system maps no 40 GiB";
  auto* in = reinterpret_cast<float*>(x.get());
  in[row] = 2, in[row + 1] = 3;
  float w[n] = {1, 10, 100, 1000};
  const MatmulArgs args{.positions = row + 2, .n = n, .k = 1};
  std::byte* buffers[] = {x.get(), reinterpret_cast<std::byte*>(w), reinterpret_cast<std::byte*>(w), out.get()};
  const std::size_t sizes[] = {(row + 2) * 4, sizeof w, sizeof w, (row + 2) * n * 4};
  HALYARD_CPU_KERNEL(matmul_f32_cpu)
  (best_isa(), {})({0, n, row, row + 2, 0, 1, {n, row + 2}, buffers, sizes, &args, nullptr, nullptr});
  const float* y = reinterpret_cast<const float*>(out.get()) + row * n;
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_EQ(y[i], 2 * w[i]);
    EXPECT_EQ(y[n + i], 3 * w[i]);
  }
}

TEST_F(Large, EveryOpRefusesMoreThanItsBlocksCanCount) {
  const auto refused = [&](const std::function<Result<void>(CommandEncoder&)>& record) {
    expect_refused(record, *device, {"expected at most 1073741824 blocks, got a grid of"});
  };
  const auto with_out = [&](DType t, Shape s,
                            const std::function<Result<void>(CommandEncoder&, const Buffer&)>& record) {
    if (const auto out = alloc(t, s)) refused([&](CommandEncoder& e) { return record(e, *out); });
    else skipped = to_string(s);
  };
  const Buffer many = claim(DType::f32, {43_pow2}), rows = claim(DType::f32, {33_pow2, 10_pow2});
  const Buffer weight = claim(DType::f32, {10_pow2}), none;
  with_out(DType::f32, {43_pow2}, [&](auto& e, auto& out) { return add(e, many, many, out); });
  with_out(DType::f32, {43_pow2}, [&](auto& e, auto& out) { return mul(e, many, many, out); });
  with_out(DType::f32, {43_pow2}, [&](auto& e, auto& out) { return silu_mul(e, many, many, out); });
  with_out(DType::f32, {43_pow2}, [&](auto& e, auto& out) { return gelu(e, many, out, Gelu::tanh); });
  with_out(DType::u8, {44_pow2}, [&](auto& e, auto& out) { return copy(e, claim(DType::u8, {44_pow2}), out); });
  with_out(DType::f32, rows.shape(), [&](auto& e, auto& out) { return softmax(e, rows, out); });
  with_out(DType::f32, rows.shape(), [&](auto& e, auto& out) { return rms_norm(e, rows, weight, out, 1e-6F); });
  with_out(DType::f32, rows.shape(), [&](auto& e, auto& out) { return layer_norm(e, rows, weight, none, out, 1e-6F); });
  with_out(DType::i32, {33_pow2}, [&](auto& e, auto& out) { return argmax(e, rows, out); });
  with_out(DType::f32, {38_pow2, 1, 2}, [&](auto& e, auto& out) {
    return rope_angles(e, claim(DType::i32, {38_pow2}), claim(DType::f64, {1}), out, 1);
  });
  with_out(DType::f32, {42_pow2, 1, 2}, [&](auto& e, auto& out) {
    return rope(e, claim(DType::f32, {42_pow2, 1, 2}), claim(DType::f32, {42_pow2, 1, 2}), out, RopeLayout::half_split);
  });
  with_out(DType::f16, {1, 1, 64, 2}, [&](auto& e, auto& out) {
    return kv_append(e, claim(DType::f32, {42_pow2, 1, 2}), out, claim(DType::i32, {42_pow2}));
  });
  const Buffer ids = claim(DType::i32, {42_pow2, 1}), column = claim(DType::f32, {42_pow2, 1}),
               one = claim(DType::f32, {1});
  with_out(DType::f32, {43_pow2}, [&](auto& e, auto& out) { return scale(e, many, 2, out); });
  with_out(DType::f32, rows.shape(),
           [&](auto& e, auto& out) { return gated_norm(e, rows, rows, weight, out, 1e-6F, 1); });
  if (const auto shares = alloc(DType::f32, ids.shape()))
    with_out(DType::i32, ids.shape(), [&](auto& e, auto& out) { return expert_choice(e, column, out, *shares, true); });
  with_out(DType::f32, column.shape(), [&](auto& e, auto& out) { return expert_sum(e, column, ids, column, out); });
  const SlotBatch slots = {claim(DType::i32, {31_pow2, 4}), claim(DType::i32, {31_pow2}), claim(DType::i32, {31_pow2})};
  const Buffer state = must(device->alloc(DType::f32, {2, 1, 1})),
               heads = must(device->alloc(DType::f32, {2, 1, 1, 1}));
  const Buffer cell = claim(DType::f32, {1, 1});
  with_out(DType::f32, {1, 1}, [&](auto& e, auto& out) {
    return causal_conv(e, cell, claim(DType::f32, {2, 1}), none, state, out, slots);
  });
  with_out(DType::f32, {1, 1}, [&](auto& e, auto& out) {
    return ssd(e, claim(DType::f32, {1, 3}), cell, one, one, one, heads, out, slots, {});
  });
  quant::MatrixView m;
  m.name = "w", m.n = 1, m.k = 32, m.owner = page, m.data = {page.get(), 128};
  const Weight w = must(Weight::load(*device, m, Precision::exact));
  const Weight table = must(Weight::load(*device, m, Precision::exact));
  with_out(DType::f32, {40_pow2, 1}, [&](auto& e, auto& out) {
    return matmul(e, {claim(DType::f32, {40_pow2, 32}), none}, w, out);
  });
  with_out(DType::u8, {packed_bytes(38_pow2, 32)}, [&](auto& e, auto& out) {
    return pack_activations(e, claim(DType::f32, {38_pow2, 32}), out);
  });
  with_out(DType::f32, {38_pow2, 32},
           [&](auto& e, auto& out) { return embedding(e, claim(DType::i32, {38_pow2}), table, out); });
  if (!skipped.empty()) GTEST_SKIP() << "the system maps no " << skipped;
}

TEST_F(Large, PairsAndHeadsThatNumbersCannotCountAreRefused) {
  const Buffer pairs = claim(DType::i32, {31_pow2, 1}), starts = claim(DType::i32, {3});
  expect_refused(
      [&](CommandEncoder& e) {
        return expert_order(e, pairs, claim(DType::i32, {31_pow2}), claim(DType::i32, pairs.shape()), starts);
      },
      *device, {"expert_order: ids: expected fewer than 2^31, got [2147483648, 1]"});
  const Buffer many = claim(DType::f32, {33_pow2}), row = claim(DType::f32, {1, 33_pow2});
  const SlotBatch slots = {claim(DType::i32, {1, 4}), claim(DType::i32, {1}), claim(DType::i32, {1})};
  expect_refused(
      [&](CommandEncoder& e) {
        return ssd(e, row, row, many, many, many, claim(DType::f32, {1, 33_pow2, 1, 0}), row, slots, {});
      },
      *device, {"ssd: state: expected fewer than 2^32", "[1, 8589934592, 1, 0]"});
}

TEST_F(Large, OutputsOverWhatIsReadAreRefused) {
  const Buffer b = must(device->alloc(DType::u8, {4096}));
  const auto at = [&](std::size_t offset, DType t, Shape s) { return must(b.view(offset, t, s)); };
  const Buffer x = at(0, DType::f32, {1, 32}), packed = at(128, DType::u8, {40}), over = at(64, DType::u8, {40});
  expect_refused([&](CommandEncoder& e) { return pack_activations(e, x, over); }, *device, {"packed", "apart from x"});
  quant::MatrixView m;
  m.name = "w", m.n = 2, m.k = 32, m.owner = page, m.data = {page.get(), 256};
  const Weight w = must(Weight::load(*device, m, Precision::exact));
  const Buffer out = at(1024, DType::f32, {1, 2}), bias = at(1028, DType::f32, {2});
  expect_refused(
      [&](CommandEncoder& e) {
        return matmul(e, {x, packed}, w, out, {.bias = bias});
      },
      *device, {"out", "apart from bias"});
  expect_refused(
      [&](CommandEncoder& e) {
        return matmul(e, {x, packed}, w, at(128, DType::f32, {1, 2}));
      },
      *device, {"out", "apart from packed"});
  expect_refused(
      [&](CommandEncoder& e) {
        return matmul(e, {x, packed}, w, at(0, DType::f32, {1, 2}));
      },
      *device, {"out", "apart from x"});
  const Weight table = must(Weight::load(*device, m, Precision::exact));
  expect_refused([&](CommandEncoder& e) { return embedding(e, at(4, DType::i32, {1}), table, x); }, *device,
                 {"out", "apart from ids"});
}

}  // namespace
}  // namespace halyard::ops
