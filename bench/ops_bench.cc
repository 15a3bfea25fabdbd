// How near the row-wise ops and attention come to what limits them: bytes a second, or floating-point operations a second.
// Two threads, real time. Attention's sizes are those of Llama 3.2 1B: 32 heads, 8 KV heads, D 64.
#include <benchmark/benchmark.h>

#include <numeric>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/ops/ops.h"

namespace {

using namespace halyard;

Buffer random_buffer(Device& d, DType dtype, Shape shape) {
  std::vector<float> values(shape.elements());
  std::uint32_t x = 1;
  for (float& v : values) v = static_cast<float>((x = x * 1664525 + 1013904223) >> 8) * 0x1p-23F - 1;
  Buffer f = *d.alloc(DType::f32, shape), out = *d.alloc(dtype, shape);
  (void)f.write(std::span<const float>(values));
  CommandEncoder e = *d.command_encoder();
  (void)ops::copy(e, f, out);
  (void)e.commit_and_wait();
  return out;
}

/// Times command buffers of `repeats` times what `record` records.
template <class Record> void time(benchmark::State& state, Device& d, Record record, int repeats = 1) {
  for (auto _ : state) {
    CommandEncoder e = *d.command_encoder();
    for (int i = 0; i < repeats; ++i)
      if (const Result<void> r = record(e); !r) return state.SkipWithError(r.error().message.c_str());
    if (const Result<void> r = e.commit_and_wait(); !r) return state.SkipWithError(r.error().message.c_str());
  }
}
void count(benchmark::State& state, const char* unit, double each) {
  state.counters[unit] = benchmark::Counter(each * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

constexpr std::size_t kHeads = 32, kKvHeads = 8, kHeadDim = 64;

struct AttentionSetup {
  Device d = *Device::open("cpu", {.cpu = {.threads = 2}});
  std::size_t t, pages;
  Buffer q, k, v, out;
  ops::KvBatch batch;
  AttentionSetup(DType cache, std::size_t queries, std::size_t before, std::size_t head_dim = kHeadDim)
      : t(queries),
        pages((before + t + ops::kPageUnit - 1) / ops::kPageUnit),
        q(random_buffer(d, DType::f32, {t, kHeads, head_dim})),
        k(random_buffer(d, cache, {pages, kKvHeads, ops::kPageUnit, head_dim})),
        v(random_buffer(d, cache, {pages, kKvHeads, ops::kPageUnit, head_dim})),
        out(*d.alloc(DType::f32, q.shape())),
        batch{*d.alloc(DType::i32, {1, 4}), *d.alloc(DType::i32, {1, pages})} {
    const std::int32_t span[] = {0, static_cast<std::int32_t>(t), static_cast<std::int32_t>(before), 0};
    std::vector<std::int32_t> table(pages);
    std::iota(table.begin(), table.end(), 0);
    (void)batch.spans.write(std::span<const std::int32_t>(span));
    (void)batch.table.write(std::span<const std::int32_t>(table));
  }
  Result<void> operator()(CommandEncoder& e) const { return ops::attention(e, q, k, v, out, batch, {.scale = 0.125F}); }
};

void AttentionDecode(benchmark::State& state) {
  const auto cache = static_cast<DType>(state.range(0));
  AttentionSetup s(cache, 1, static_cast<std::size_t>(state.range(1)) - 1);
  time(state, s.d, s, 8);
  state.SetLabel(std::string(to_string(cache)));
  count(state, "GB/s", 8.0 * static_cast<double>(s.k.size_bytes() + s.v.size_bytes()));
}
BENCHMARK(AttentionDecode)
    ->ArgsProduct({{int(DType::f32), int(DType::f16), int(DType::bf16)}, {512, 4096}})
    ->UseRealTime();

void AttentionPrefill(benchmark::State& state) {
  AttentionSetup s(DType::f32, 512, 0, static_cast<std::size_t>(state.range(0)));
  time(state, s.d, s);
  // two products of each query with the positions it sees
  count(state, "GFLOP/s", 4.0 * kHeads * static_cast<double>(state.range(0)) * 512 * 513 / 2);
}
BENCHMARK(AttentionPrefill)->Arg(64)->Arg(128)->UseRealTime();

void RmsNorm(benchmark::State& state) {
  Device d = *Device::open("cpu", {.cpu = {.threads = 2}});
  const auto rows = static_cast<std::size_t>(state.range(0));
  const Buffer x = random_buffer(d, DType::f32, {rows, 2048}), w = random_buffer(d, DType::f32, {2048});
  const Buffer out = *d.alloc(DType::f32, x.shape());
  time(
      state, d, [&](CommandEncoder& e) { return ops::rms_norm(e, x, w, out, 1e-6F); }, 8);
  count(state, "GB/s", 8.0 * 2 * static_cast<double>(x.size_bytes()));
}
BENCHMARK(RmsNorm)->Arg(1)->Arg(512)->UseRealTime();

void SiluMul(benchmark::State& state) {
  Device d = *Device::open("cpu", {.cpu = {.threads = 2}});
  const auto rows = static_cast<std::size_t>(state.range(0));
  const Buffer gate = random_buffer(d, DType::f32, {rows, 8192}), up = random_buffer(d, DType::f32, {rows, 8192});
  const Buffer out = *d.alloc(DType::f32, gate.shape());
  time(
      state, d, [&](CommandEncoder& e) { return ops::silu_mul(e, gate, up, out); }, 8);
  count(state, "GB/s", 8.0 * 3 * static_cast<double>(gate.size_bytes()));
}
BENCHMARK(SiluMul)->Arg(1)->Arg(512)->UseRealTime();

}  // namespace
