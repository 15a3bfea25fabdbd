// Reading memory again and again, without any runtime: what is left of that where other programs want the cores and the
// caches too is the most that inference can keep there. bench/neighbour.py asks.
#include <benchmark/benchmark.h>
#include <sched.h>

#include <cstdint>
#include <vector>

namespace {

using Word = std::uint64_t __attribute__((vector_size(16)));

// Binds the calling thread to the nth of the cores that the program was started on.
void bind_to(int nth) {
  static const cpu_set_t allowed = [] {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof cores, &cores);
    return cores;
  }();
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed) && nth-- == 0) CPU_SET(core, &one);
  if (CPU_COUNT(&one)) sched_setaffinity(0, sizeof one, &one);
}

// Each thread has a core, and reads `MiB` of its own.
void Read(benchmark::State& state) {
  bind_to(state.thread_index());
  const std::vector<Word> memory((static_cast<std::size_t>(state.range(0)) << 20) / sizeof(Word), Word{1, 1});
  for (auto _ : state) {
    Word a{}, b{}, c{}, d{};
    for (const Word *p = memory.data(), *end = p + memory.size(); p != end; p += 4) {
      a += p[0];
      b += p[1];
      c += p[2];
      d += p[3];
    }
    benchmark::DoNotOptimize(a + b + c + d);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) << 20);
}
BENCHMARK(Read)->ArgName("MiB")->Arg(1)->Arg(8)->Arg(16)->ThreadRange(1, 2)->UseRealTime();

}  // namespace
