#include "halyard/testing/sim/program.h"

#include <algorithm>
#include <array>
#include <optional>

#include "halyard/testing/sim/random.h"

namespace halyard::testing {
namespace {

// ---------------------------------------------------------------------------------------------------------- kernels

using Byte = std::uint8_t;
Byte low(unsigned v) { return static_cast<Byte>(v & 255U); }

void fill(const CpuTile& t) {
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(0)[i] = low(t.constants_as<Byte>() + 7U * i);
}
void update(const CpuTile& t) {
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(0)[i] = low(3U * t.as<Byte>(0)[i] + t.constants_as<Byte>());
}
void copy(const CpuTile& t) {
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(1)[i] = low(0U + t.as<Byte>(0)[i] + t.constants_as<Byte>());
}
void mix(const CpuTile& t) {
  for (auto i = t.x0; i < t.x1; ++i)
    t.as<Byte>(2)[i] = low(3U * t.as<Byte>(0)[i] + 5U * t.as<Byte>(1)[i] + t.constants_as<Byte>());
}
void accumulate(const CpuTile& t) {
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(1)[i] = low(5U * t.as<Byte>(1)[i] + t.as<Byte>(0)[i]);
}
void mirror(const CpuTile& t) {
  for (auto i = t.x0; i < t.x1; ++i)
    t.as<Byte>(1)[i] = low(3U * t.as<Byte>(0)[t.grid.x - 1 - i] + t.constants_as<Byte>());
}
void fold(const CpuTile& t) {
  Byte sum = t.constants_as<Byte>();
  for (std::size_t i = 0; i < t.sizes[0]; ++i) sum = low(31U * sum + t.as<Byte>(0)[i]);
  t.as<Byte>(1)[0] = sum;
}

constexpr Grid tile = {8, 1, 1};
const std::array<KernelDef, 7> kernels = {{{"sim_fill", "w", tile, cpu_portable<fill>},
                                           {"sim_update", "x", tile, cpu_portable<update>},
                                           {"sim_copy", "rw", tile, cpu_portable<copy>},
                                           {"sim_mix", "rrw", tile, cpu_portable<mix>},
                                           {"sim_accumulate", "rx", tile, cpu_portable<accumulate>},
                                           {"sim_mirror", "rw", tile, cpu_portable<mirror>},
                                           {"sim_fold", "rw", tile, cpu_portable<fold>}}};
const KernelDef& kernel_of(Op op) { return kernels[static_cast<std::size_t>(op)]; }

// -------------------------------------------------------------------------------------------------------- generator

// Cuts a window of `bytes` out of the buffer through up to three views of views.
Window random_window(Random& random, const Program& p, std::uint32_t buffer, std::uint32_t bytes) {
  Window w{buffer, {}, 0, p.sizes[buffer]};
  for (std::uint32_t depth = random.below(3); depth > 0 && w.bytes > bytes; --depth) {
    const std::uint32_t inner = bytes + random.below(w.bytes - bytes + 1);
    const std::uint32_t offset = random.below(w.bytes - inner + 1);
    w.views.push_back({offset, inner});
    w.begin += offset;
    w.bytes = inner;
  }
  const std::uint32_t offset = random.below(w.bytes - bytes + 1);
  w.views.push_back({offset, bytes});
  w.begin += offset;
  w.bytes = bytes;
  return w;
}

// Tiles of one dispatch run in any order: what it writes must be apart from what else it binds.
bool races_with_itself(const Call& c) {
  const Window& out = c.windows.back();
  return std::any_of(c.windows.begin(), c.windows.end() - 1, [&](const Window& w) {
    return w.buffer == out.buffer && w.begin < out.begin + out.bytes && out.begin < w.begin + w.bytes;
  });
}

Call random_call(Random& random, const Program& p) {
  for (;;) {
    Call c{static_cast<Op>(random.below(kernels.size())), {}, low(static_cast<unsigned>(random())), random.one_in(12)};
    const std::size_t bindings = kernel_of(c.op).access.size();
    std::vector<std::uint32_t> buffers(bindings);
    std::uint32_t most = ~0U;
    for (auto& b : buffers) {
      b = random.below(p.sizes.size());
      most = std::min(most, p.sizes[b]);
    }
    const std::uint32_t bytes = 1 + random.below(random.one_in(3) ? most : std::min(most, 12U));
    for (const auto b : buffers) {
      const bool single = c.op == Op::fold && c.windows.size() + 1 == bindings;
      c.windows.push_back(random_window(random, p, b, single ? 1 : bytes));
    }
    if (!races_with_itself(c)) return c;
  }
}

}  // namespace

Program random_program(std::uint64_t seed, std::uint32_t max_calls) {
  Random random(seed);
  Program p;
  p.seed = seed;
  for (std::uint32_t n = 2 + random.below(4); n > 0; --n) {
    p.sizes.push_back(8 + random.below(72));
    p.scratch.push_back(random.one_in(3));
  }
  p.scratch[0] = false;
  for (std::uint32_t n = 1 + random.below(4); n > 0; --n) {
    Stage s{random.one_in(4), static_cast<Stage::End>(random.below(3)), {}};
    for (std::uint32_t calls = random.below(max_calls + 1); calls > 0; --calls)
      s.calls.push_back(random_call(random, p));
    p.stages.push_back(std::move(s));
  }
  return p;
}

// ------------------------------------------------------------------------------------------------------ interpreter

namespace {

void interpret(const Call& c, Contents& memory) {
  const auto at = [&](std::size_t window, std::uint32_t i) -> Byte& {
    return memory[c.windows[window].buffer][c.windows[window].begin + i];
  };
  const std::uint32_t n = c.windows.front().bytes;
  unsigned sum = c.constant;
  for (std::uint32_t i = 0; i < n; ++i) switch (c.op) {
      case Op::fill: at(0, i) = low(c.constant + i * 7); break;
      case Op::update: at(0, i) = low(at(0, i) * 3U + c.constant); break;
      case Op::copy: at(1, i) = low(at(0, i) + 0U + c.constant); break;
      case Op::mix: at(2, i) = low(at(0, i) * 3U + at(1, i) * 5U + c.constant); break;
      case Op::accumulate: at(1, i) = low(at(1, i) * 5U + at(0, i)); break;
      case Op::mirror: at(1, i) = low(at(0, n - 1 - i) * 3U + c.constant); break;
      case Op::fold: sum = sum * 31 + at(0, i); break;
    }
  if (c.op == Op::fold) at(1, 0) = low(sum);
}

}  // namespace

Contents interpret(const Program& p) {
  Contents memory;
  for (const auto bytes : p.sizes) memory.emplace_back(bytes);
  for (const Stage& s : p.stages)
    for (const Call& c : s.calls) interpret(c, memory);
  for (std::size_t b = 0; b < memory.size(); ++b)
    if (p.scratch[b]) memory[b].clear();
  return memory;
}

// --------------------------------------------------------------------------------------------------------- executor

namespace {

// The first and the last stage that use a buffer.
struct Life {
  std::size_t first = ~std::size_t{0}, last = 0;
};

std::vector<Life> lives(const Program& p) {
  std::vector<Life> of(p.sizes.size());
  for (std::size_t s = 0; s < p.stages.size(); ++s)
    for (const Call& c : p.stages[s].calls)
      for (const Window& w : c.windows) {
        of[w.buffer].first = std::min(of[w.buffer].first, s);
        of[w.buffer].last = s;
      }
  return of;
}

Result<void> record(CommandEncoder& e, const Stage& stage, const std::vector<Buffer>& buffers) {
  for (const Call& c : stage.calls) {
    if (c.barrier_before) e.memory_barrier();
    std::array<Buffer, 3> bound;
    for (std::size_t i = 0; i < c.windows.size(); ++i) {
      bound[i] = buffers[c.windows[i].buffer];
      for (const auto [offset, bytes] : c.windows[i].views)
        bound[i] = HALYARD_TRY(bound[i].view(offset, DType::u8, {bytes}));
    }
    const KernelRef kernel = HALYARD_TRY(e.kernel(kernel_of(c.op)));
    const std::uint32_t items = c.op == Op::fold ? 1 : c.windows.front().bytes;
    HALYARD_TRY(e.dispatch({.kernel = kernel,
                            .grid = {items, 1, 1},
                            .buffers = std::span<const Buffer>(bound.data(), c.windows.size()),
                            .constants = c.constant}));
  }
  return {};
}

Result<void> run_plain(Device& d, const Stage& stage, const std::vector<Buffer>& buffers) {
  CommandEncoder e = HALYARD_TRY(d.command_encoder());
  HALYARD_TRY(record(e, stage, buffers));
  if (stage.end == Stage::End::wait) return e.commit_and_wait();
  HALYARD_TRY(e.commit());
  return {};
}

Result<void> run_in_session(EncoderSession& s, const Stage& stage, const std::vector<Buffer>& buffers) {
  HALYARD_TRY(s.reset_for_next_stage());
  HALYARD_TRY(record(s.encoder(), stage, buffers));
  switch (stage.end) {
    case Stage::End::commit: return s.commit_stage();
    case Stage::End::fence: return s.fence_stage();
    case Stage::End::wait: break;
  }
  return s.commit_and_wait();
}

}  // namespace

Result<Contents> execute(const Program& p, Device d) {
  const auto life = lives(p);
  std::vector<Buffer> buffers(p.sizes.size());
  EncoderSession session = HALYARD_TRY(d.encoder_session());
  for (std::size_t s = 0; s < p.stages.size(); ++s) {
    for (std::size_t b = 0; b < buffers.size(); ++b)
      if (p.scratch[b] ? life[b].first == s : s == 0) buffers[b] = HALYARD_TRY(d.alloc(DType::u8, {p.sizes[b]}));
    const Stage& stage = p.stages[s];
    HALYARD_TRY(stage.plain ? run_plain(d, stage, buffers) : run_in_session(session, stage, buffers));
    for (std::size_t b = 0; b < buffers.size(); ++b)
      if (p.scratch[b] && life[b].last == s) buffers[b] = Buffer();
  }
  Contents contents(buffers.size());
  for (std::size_t b = 0; b < buffers.size(); ++b)
    if (!p.scratch[b]) contents[b] = HALYARD_TRY(buffers[b].read<Byte>());
  HALYARD_TRY(d.wait_idle());
  return contents;
}

}  // namespace halyard::testing
