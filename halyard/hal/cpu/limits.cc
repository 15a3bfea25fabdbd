#include "halyard/hal/cpu/limits.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "halyard/base/threads.h"
#include "halyard/hal/cpu/limits_kernels.h"

namespace halyard {
namespace {

using Clock = std::chrono::steady_clock;

LimitLoops loops_for(Isa isa) {
#define HALYARD_LIMIT_LOOPS(name)                                       \
  case Isa::name:                                                       \
    if constexpr (is_built(Isa::name)) return limit_loops<Isa::name>(); \
    break;
  switch (isa) { HALYARD_FOR_EACH_ISA(HALYARD_LIMIT_LOOPS) }
#undef HALYARD_LIMIT_LOOPS
  return {};
}

// Runs work(thread) on all threads at once and returns the seconds from the common start to the last end.
template <class F> Result<double> seconds_together(int threads, const F& work) {
  enum class Word { wait, go, stop };
  std::atomic<int> ready = 0;
  std::atomic<Word> word = Word::wait;
  std::vector<std::thread> others;
  const auto started = start_threads(others, static_cast<std::size_t>(threads - 1), [&](std::size_t i) {
    ready.fetch_add(1);
    Word said;
    while ((said = word.load(std::memory_order_acquire)) == Word::wait) std::this_thread::yield();
    if (said == Word::go) work(static_cast<int>(i) + 1);
  });
  while (started && ready.load() < threads - 1) std::this_thread::yield();
  const auto begin = Clock::now();
  word.store(started ? Word::go : Word::stop, std::memory_order_release);
  if (started) work(0);
  for (std::thread& t : others) t.join();
  HALYARD_TRY(started);
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The best of five runs of about 10 ms, in 10^9 operations a second.
Result<double> rate(int threads, double (*loop)(std::size_t)) {
  constexpr double target = 0.01;
  std::size_t rounds = 1000;
  double best = 0;
  for (int run = 0; run < 6; ++run) {
    std::vector<double> operations(static_cast<std::size_t>(threads));
    const double seconds =
        HALYARD_TRY(seconds_together(threads, [&](int i) { operations[static_cast<std::size_t>(i)] = loop(rounds); }));
    double sum = 0;
    for (const double o : operations) sum += o;
    if (sum == 0) return 0;
    if (run == 0)  // only to learn how many rounds take the time wanted
      rounds = static_cast<std::size_t>(std::clamp(1000 * target / std::max(seconds, 1e-7), 1e3, 1e8));
    else best = std::max(best, sum / seconds / 1e9);
  }
  return best;
}

struct Mapping {
  explicit Mapping(std::size_t n)
      : bytes(n), data(mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Mapping(const Mapping&) = delete;
  ~Mapping() {
    if (data != MAP_FAILED) munmap(data, bytes);
  }
  std::size_t bytes;
  void* data;
};

Result<double> read_rate(int threads, const LimitLoops& loops) {
#ifdef HALYARD_SANITIZED  // says nothing about speed, and need not take long over it
  constexpr std::size_t bytes = std::size_t{16} << 20;
#else
  constexpr std::size_t bytes = std::size_t{512} << 20;
#endif
  const Mapping memory(bytes);
  if (memory.data == MAP_FAILED) return 0;
#ifdef MADV_HUGEPAGE
  madvise(memory.data, bytes, MADV_HUGEPAGE);
#endif
  const std::size_t share = bytes / static_cast<std::size_t>(threads) / 4096 * 4096;
  const auto part = [&](int i) { return static_cast<char*>(memory.data) + static_cast<std::size_t>(i) * share; };
  HALYARD_TRY(seconds_together(threads, [&](int i) { std::memset(part(i), 1, share); }));
  std::atomic<std::uint64_t> seen = 0;
  double best = 0;
  for (int run = 0; run < 6; ++run) {
    const auto read = loops.read[run % 2];
    const double seconds = HALYARD_TRY(seconds_together(threads, [&](int i) { seen.fetch_or(read(part(i), share)); }));
    best = std::max(best, static_cast<double>(share) * threads / seconds / 1e9);
  }
  return seen.load() != 0 ? best : 0;
}

}  // namespace

Result<CpuLimits> measure_cpu_limits(int threads, Isa isa) {
  threads = std::clamp(threads, 1, 1024);
  const LimitLoops loops = loops_for(std::min(isa, best_isa()));
  CpuLimits limits;
  limits.read_gb_s = HALYARD_TRY(read_rate(threads, loops));
  limits.int8_gop_s = HALYARD_TRY(rate(threads, loops.int8));
  limits.bf16_gflop_s = HALYARD_TRY(rate(threads, loops.bf16));
  limits.f32_gflop_s = HALYARD_TRY(rate(threads, loops.f32));
  return limits;
}

}  // namespace halyard
