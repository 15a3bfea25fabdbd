// What the runtime itself costs: recording, hazard tracking, submission, barriers. Kernels here do next to nothing.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <vector>

#include "halyard/halyard.h"

namespace {

using namespace halyard;

void nothing(const CpuTile& t) { benchmark::DoNotOptimize(t.buffers); }
const KernelDef kNothing = {"bench_nothing", "rrw", {&cpu_form<nothing>}};

struct Setup {
  Device device;
  KernelRef kernel;
  std::vector<Buffer> buffers;
  explicit Setup(int threads, std::size_t n_buffers)
      : device(*Device::open("cpu", {.cpu = {.threads = threads}})), kernel(*device.kernel(kNothing)) {
    for (std::size_t i = 0; i < n_buffers; ++i) buffers.push_back(*device.alloc(DType::f32, {64}));
  }
};

// One dispatch of three bindings, none in conflict, recorded and tracked with up to 1,000 ranges live, each of memory of its
// own. A command buffer goes `rounds` times through them, with a barrier between: in the first round it retains the memory.
// A share of opening it and of dropping it, which lets go of the memory, counts with each dispatch.
void RecordAndTrack(benchmark::State& state) {
  constexpr std::size_t ranges = 999;
  Setup s(1, ranges);
  CommandEncoder e = *s.device.command_encoder();
  std::size_t i = 0;
  for (std::int64_t round = 0; auto _ : state) {
    if (i == ranges) {
      i = 0;
      e.memory_barrier();
      if (++round == state.range(0)) {
        round = 0;
        e = *s.device.command_encoder();
      }
    }
    (void)e.dispatch({.kernel = s.kernel, .grid = {1, 1, 1}, .buffers = std::span(&s.buffers[i], 3)});
    i += 3;
  }
}
BENCHMARK(RecordAndTrack)->Arg(1)->Arg(10);

// The same in one command buffer of many dispatches without a barrier: each reads and writes windows of one allocation that
// no other binds, in order (0) or in random order (1). One item a dispatch.
void TrackViews(benchmark::State& state) {
  const auto dispatches = static_cast<std::size_t>(state.range(0));
  Setup s(1, 0);
  const Buffer memory = *s.device.alloc(DType::u8, {3 * dispatches * 128});
  std::vector<Buffer> windows;
  for (std::size_t i = 0; i < 3 * dispatches; ++i) windows.push_back(*memory.view(i * 128, DType::u8, {64}));
  if (state.range(1)) std::shuffle(windows.begin(), windows.end(), std::mt19937(1));
  for (auto _ : state) {
    CommandEncoder e = *s.device.command_encoder();
    for (std::size_t i = 0; i < windows.size(); i += 3)
      (void)e.dispatch({.kernel = s.kernel, .grid = {1, 1, 1}, .buffers = std::span(&windows[i], 3)});
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(dispatches));
}
BENCHMARK(TrackViews)->ArgsProduct({{1000, 10000, 100000}, {0, 1}});

// The kernel of the plan below alone, called through its pointer.
void CallKernel(benchmark::State& state) {
  CpuKernelFn volatile kernel = nothing;
  CpuTile tile{0, 1, 0, 1, 0, 1, {1, 1, 1}, nullptr, nullptr, nullptr, nullptr, nullptr};
  for (auto _ : state) kernel(tile);
}
BENCHMARK(CallKernel);

// Recording, submission and run of a command buffer that replays a plan; one item a node. The kernel does nothing.
void ReplayPlan(benchmark::State& state) {
  const auto nodes = static_cast<std::size_t>(state.range(0));
  Setup s(1, 3 * nodes);
  CommandEncoder capturing = *s.device.command_encoder();
  capturing.start_capture();
  for (std::size_t i = 0; i < nodes; ++i)
    (void)capturing.dispatch({.kernel = s.kernel, .grid = {1, 1, 1}, .buffers = std::span(&s.buffers[3 * i], 3)});
  const Plan plan = *capturing.take_capture()->compile();
  for (auto _ : state) {
    CommandEncoder e = *s.device.command_encoder();
    (void)e.replay(plan);
    (void)e.commit_and_wait();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(nodes));
}
BENCHMARK(ReplayPlan)->Arg(1)->Arg(300)->Arg(3000);

// The same recorded each time.
void RecordAgain(benchmark::State& state) {
  const auto nodes = static_cast<std::size_t>(state.range(0));
  Setup s(1, 3 * nodes);
  for (auto _ : state) {
    CommandEncoder e = *s.device.command_encoder();
    for (std::size_t i = 0; i < nodes; ++i)
      (void)e.dispatch({.kernel = s.kernel, .grid = {1, 1, 1}, .buffers = std::span(&s.buffers[3 * i], 3)});
    (void)e.commit_and_wait();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(nodes));
}
BENCHMARK(RecordAgain)->Arg(1)->Arg(300)->Arg(3000);

void EmptyCommit(benchmark::State& state) {
  Setup s(2, 0);
  for (auto _ : state) {
    CommandEncoder e = *s.device.command_encoder();
    benchmark::DoNotOptimize(e.commit());
  }
}
BENCHMARK(EmptyCommit);

void EmptyCommitAndWait(benchmark::State& state) {
  Setup s(2, 0);
  for (auto _ : state) {
    CommandEncoder e = *s.device.command_encoder();
    benchmark::DoNotOptimize(e.commit_and_wait());
  }
}
BENCHMARK(EmptyCommitAndWait);

// Dispatches of `tiles` tiles, each dependent on the one before: the time of one, barrier included.
void Dependent(benchmark::State& state) {
  Setup s(2, 3);
  const auto tiles = static_cast<std::uint32_t>(state.range(0));
  constexpr int n = 4000;  // recorded for longer than idle threads stay awake: they are woken each time, or never
  for (auto _ : state) {
    state.PauseTiming();
    CommandEncoder e = *s.device.command_encoder();
    for (int i = 0; i < n; ++i)
      (void)e.dispatch({.kernel = s.kernel, .grid = {tiles, 1, 1}, .buffers = std::span(s.buffers)});
    state.ResumeTiming();
    (void)e.commit_and_wait();
  }
  state.SetItemsProcessed(state.iterations() * n);
}
BENCHMARK(Dependent)->Arg(1)->Arg(2)->Arg(8)->Arg(64);

}  // namespace
