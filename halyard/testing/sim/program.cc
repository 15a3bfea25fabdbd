#include "halyard/testing/sim/program.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "halyard/hal/cpu/kernel.h"
#include "halyard/hal/passes.h"
#include "halyard/testing/sim/random.h"

namespace halyard::testing {
namespace {

// ---------------------------------------------------------------------------------------------------------- kernels

using Byte = std::uint8_t;
Byte low(std::uint64_t v) { return static_cast<Byte>(v & 255U); }

// The sum of c's bytes and three times that of d's: a multiplication by ones leaves the sum in the highest byte.
unsigned stir(const Numbers& n) {
  return n.c * 0x01010101U / (1U << 24) + 3 * static_cast<unsigned>(n.d * 0x0101010101010101U >> 56);
}
unsigned k_of(const CpuTile& t) { return stir(t.constants_as<Numbers>()); }

void fill(const CpuTile& t) {
  const unsigned k = k_of(t);
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(0)[i] = low(k + 7U * i);
}
void update(const CpuTile& t) {
  const unsigned k = k_of(t);
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(0)[i] = low(3U * t.as<Byte>(0)[i] + k);
}
void copy(const CpuTile& t) {
  const unsigned k = k_of(t);
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(1)[i] = low(t.as<Byte>(0)[i] + k);
}
void mix(const CpuTile& t) {
  const unsigned k = k_of(t);
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(2)[i] = low(3U * t.as<Byte>(0)[i] + 5U * t.as<Byte>(1)[i] + k);
}
void accumulate(const CpuTile& t) {
  const unsigned k = k_of(t);
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(1)[i] = low(5U * t.as<Byte>(1)[i] + t.as<Byte>(0)[i] + k);
}
void mirror(const CpuTile& t) {
  const unsigned k = k_of(t);
  for (auto i = t.x0; i < t.x1; ++i) t.as<Byte>(1)[i] = low(3U * t.as<Byte>(0)[t.grid.x - 1 - i] + k);
}
void fold(const CpuTile& t) {
  Byte sum = low(k_of(t));
  for (std::size_t i = 0; i < t.sizes[0]; ++i) sum = low(31U * sum + t.as<Byte>(0)[i]);
  t.as<Byte>(1)[0] = sum;
}

constexpr Grid tile = {8, 1, 1};
const std::array<KernelDef, 7> kernels = {{{"sim_fill", "w", {&cpu_form<fill, tile>}},
                                           {"sim_update", "x", {&cpu_form<update, tile>}},
                                           {"sim_copy", "rw", {&cpu_form<copy, tile>}},
                                           {"sim_mix", "rrw", {&cpu_form<mix, tile>}},
                                           {"sim_accumulate", "rx", {&cpu_form<accumulate, tile>}},
                                           {"sim_mirror", "rw", {&cpu_form<mirror, tile>}},
                                           {"sim_fold", "rw", {&cpu_form<fold, tile>}}}};
const KernelDef& kernel_of(Op op) { return kernels[static_cast<std::size_t>(op)]; }

// Work-items of a call.
std::uint32_t items_of(const Call& c) { return c.op == Op::fold ? 1 : c.windows.front().bytes; }

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

bool overlap(const Window& a, const Window& b) {
  return a.buffer == b.buffer && std::max(a.begin, b.begin) < std::min(a.begin + a.bytes, b.begin + b.bytes);
}

// Tiles of one dispatch run in any order: what it writes must be apart from what else it binds.
bool races_with_itself(const Call& c) {
  return std::any_of(c.windows.begin(), c.windows.end() - 1,
                     [&](const Window& w) { return overlap(w, c.windows.back()); });
}

Call random_call(Random& random, const Program& p) {
  for (;;) {
    Call c{
        static_cast<Op>(random.below(kernels.size())), {}, {static_cast<std::uint32_t>(random()), 0, random()}, {}, {}};
    const std::size_t bindings = kernel_of(c.op).access.size();
    std::vector<std::uint32_t> buffers(bindings);
    std::uint32_t most = ~0U;
    for (auto& b : buffers) {
      b = random.below(p.sizes.size());
      most = std::min(most, p.sizes[b]);
    }
    // Now and then nothing at all: such a window conflicts with none.
    const std::uint32_t bytes = random.one_in(15) ? 0 : 1 + random.below(random.one_in(3) ? most : std::min(most, 12U));
    for (const auto b : buffers) {
      const bool single = c.op == Op::fold && c.windows.size() + 1 == bindings;
      c.windows.push_back(random_window(random, p, b, single ? 1 : bytes));
    }
    if (!races_with_itself(c)) return c;
  }
}

std::uint64_t random_value(Random& random, const Captured::Parameter& p) { return p.wide ? random() : random() >> 32; }

// Makes some of a captured call's constants parameters.
void tag(Random& random, Captured& plan, Call& c) {
  const auto choose = [&](bool narrow) -> std::optional<std::size_t> {
    const std::size_t i = random.below(2 * plan.parameters.size());
    if (i >= plan.parameters.size() || (narrow && plan.parameters[i].wide)) return {};
    return i;
  };
  if ((c.c_from = choose(true))) c.numbers.c = static_cast<std::uint32_t>(plan.parameters[*c.c_from].recorded);
  if ((c.d_from = choose(false))) c.numbers.d = plan.parameters[*c.d_from].recorded;
}

Captured random_plan(Random& random, const Program& p) {
  Captured plan;
  for (const std::string_view name : {"position", "length", "token"}) {
    plan.parameters.push_back({name, random.one_in(3), false, 0});
    plan.parameters.back().recorded = random_value(random, plan.parameters.back());
  }
  for (std::uint32_t n = random.below(6); n > 0; --n) {
    Step s{.barrier_before = random.one_in(12), .call = random_call(random, p), .values = {}};
    tag(random, plan, s.call);
    for (const auto& from : {s.call.c_from, s.call.d_from})
      if (from) plan.parameters[*from].asked = true;
    plan.steps.push_back(std::move(s));
  }
  for (auto& parameter : plan.parameters) parameter.asked = parameter.asked && !random.one_in(4);
  plan.reordered = random.one_in(3);
  return plan;
}

Step random_replay(Random& random, const Program& p) {
  Step s{.what = Step::What::replay,
         .barrier_before = random.one_in(12),
         .call = {},
         .plan = random.below(p.plans.size()),
         .values = {}};
  for (const auto& parameter : p.plans[s.plan].parameters) s.values.push_back(random_value(random, parameter));
  return s;
}

Step random_step(Random& random, Program& p) {
  Step s{.barrier_before = random.one_in(12), .call = {}, .values = {}};
  if (random.one_in(10)) {
    s.what = random.one_in(3) ? Step::What::keep : Step::What::release;
    s.buffer = random.below(p.sizes.size());
  } else if (p.plans.size() < 4 && random.one_in(5)) {
    s.what = Step::What::capture;
    s.plan = p.plans.size();
    p.plans.push_back(random_plan(random, p));
  } else if (!p.plans.empty() && random.one_in(3)) {
    s = random_replay(random, p);
  } else {
    s.call = random_call(random, p);
  }
  return s;
}

}  // namespace

AccessList access_of(Op op) { return kernel_of(op).access; }
std::string_view name_of(Op op) { return kernel_of(op).name; }

Program random_program(std::uint64_t seed, std::uint32_t max_steps) {
  Random random(seed);
  Program p;
  p.seed = seed;
  for (std::uint32_t n = 2 + random.below(4); n > 0; --n) {
    p.sizes.push_back(8 + random.below(72));
    p.scratch.push_back(random.one_in(2));
  }
  p.scratch[0] = false;
  for (std::uint32_t n = 1 + random.below(4); n > 0; --n) {
    Stage s{random.one_in(4), static_cast<Stage::End>(random.below(3)), {}};
    for (std::uint32_t steps = random.below(max_steps + 1); steps > 0; --steps)
      s.steps.push_back(random_step(random, p));
    p.stages.push_back(std::move(s));
  }
  // In the end nothing but replays: what they use has no handle but the plan's.
  if (!p.plans.empty() && random.one_in(2)) {
    Stage s{random.one_in(4), Stage::End::commit, {}};
    for (std::uint32_t steps = 1 + random.below(4); steps > 0; --steps) s.steps.push_back(random_replay(random, p));
    p.stages.push_back(std::move(s));
  }
  return p;
}

// ---------------------------------------------------------------------------------------------------------- by hand

namespace {

bool conflict(const Call& a, const Call& b) {
  const AccessList of_a = access_of(a.op), of_b = access_of(b.op);
  for (std::size_t i = 0; i < of_a.size(); ++i)
    for (std::size_t j = 0; j < of_b.size(); ++j)
      if ((of_a[i] != Access::read || of_b[j] != Access::read) && overlap(a.windows[i], b.windows[j])) return true;
  return false;
}

void separate(std::vector<Step>& steps, const Program& p) {
  std::vector<const Call*> running;  // since the last barrier
  for (Step& s : steps) {
    const auto conflicts = [&](const Call* c) { return conflict(*c, s.call); };
    if (s.what == Step::What::call && std::any_of(running.begin(), running.end(), conflicts)) s.barrier_before = true;
    const bool replays = s.what == Step::What::replay && !p.plans[s.plan].steps.empty();
    if (s.barrier_before || replays) running.clear();
    if (s.what == Step::What::call) running.push_back(&s.call);
  }
}

}  // namespace

Program by_hand(Program p) {
  p.hazards = Hazards::manual;
  for (Captured& plan : p.plans) {
    separate(plan.steps, p);
    plan.reordered = false;  // that places barriers
  }
  for (Stage& s : p.stages) separate(s.steps, p);
  return p;
}

// ------------------------------------------------------------------------------------------------------ interpreter

namespace {

enum class Order : std::uint8_t { recorded, submitted };

// The calls of a plan with the values of one replay.
std::vector<Meant> replayed(const Captured& plan, const std::vector<std::uint64_t>& values) {
  std::vector<Meant> calls;
  for (const Step& s : plan.steps) {
    Meant m{s.call, {.by_hand = s.barrier_before}, true};
    if (const auto from = s.call.c_from; from && plan.parameters[*from].asked)
      m.call.numbers.c = static_cast<std::uint32_t>(values[*from]);
    if (const auto from = s.call.d_from; from && plan.parameters[*from].asked) m.call.numbers.d = values[*from];
    calls.push_back(std::move(m));
  }
  return calls;
}

// Each call as early as its conflicts allow: it waits for those before it and for nothing else.
std::vector<Meant> reordered(std::vector<Meant> calls) {
  std::vector<std::size_t> phase(calls.size());
  for (std::size_t j = 0; j < calls.size(); ++j) {
    calls[j].forced = {};
    for (std::size_t i = 0; i < j; ++i)
      if (conflict(calls[i].call, calls[j].call)) phase[j] = std::max(phase[j], phase[i] + 1);
  }
  std::vector<Meant> order;
  for (std::size_t k = 0; order.size() < calls.size(); ++k)
    for (std::size_t i = 0; i < calls.size(); ++i)
      if (phase[i] == k) order.push_back(calls[i]);
  return order;
}

std::vector<Meant> flatten(const Program& p, const Stage& stage, Order order) {
  std::vector<Meant> flat;
  Forced next;
  for (const Step& s : stage.steps) {
    if (s.barrier_before) next.by_hand = true, next.across_capture = false;
    std::vector<Meant> more;
    if (s.what == Step::What::capture) next.across_capture = next.any();
    if (s.what == Step::What::call) more.push_back({s.call, {}, false});
    if (s.what == Step::What::replay) {
      more = replayed(p.plans[s.plan], s.values);
      if (order == Order::submitted && p.plans[s.plan].reordered) more = reordered(std::move(more));
    }
    if (more.empty()) continue;
    Forced& forced = more.front().forced;
    forced.by_hand |= next.by_hand;
    forced.replay_begins = s.what == Step::What::replay;
    forced.across_capture = next.across_capture && !forced.replay_begins;
    forced.replay_ended = next.replay_ended;
    next = {.replay_ended = forced.replay_begins};
    flat.insert(flat.end(), more.begin(), more.end());
  }
  return flat;
}

}  // namespace

std::vector<Meant> flatten(const Program& p, const Stage& stage) { return flatten(p, stage, Order::submitted); }

Counts count(const Program& p) {
  Counts n{.command_buffers = 1, .by_kernel = {}};
  bool drained = false;
  for (const Stage& stage : p.stages) {
    for (const Meant& m : flatten(p, stage)) {
      ++n.dispatches;
      if (items_of(m.call) > 0) ++n.by_kernel[name_of(m.call.op)];
    }
    for (const Step& s : stage.steps) n.explicit_barriers += s.barrier_before;
    n.syncs += stage.end == Stage::End::wait;
    n.command_buffers += stage.plain || drained;
    drained = drained || !stage.plain;
  }
  return n;
}

namespace {

void interpret(const Call& c, Contents& memory) {
  const auto at = [&](std::size_t window, std::uint32_t i) -> Byte& {
    return memory[c.windows[window].buffer][c.windows[window].begin + i];
  };
  const std::uint32_t n = c.windows.front().bytes;
  const unsigned k = stir(c.numbers);
  unsigned sum = k;
  for (std::uint32_t i = 0; i < n; ++i) switch (c.op) {
      case Op::fill: at(0, i) = low(k + i * 7); break;
      case Op::update: at(0, i) = low(at(0, i) * 3U + k); break;
      case Op::copy: at(1, i) = low(at(0, i) + k); break;
      case Op::mix: at(2, i) = low(at(0, i) * 3U + at(1, i) * 5U + k); break;
      case Op::accumulate: at(1, i) = low(at(1, i) * 5U + at(0, i) + k); break;
      case Op::mirror: at(1, i) = low(at(0, n - 1 - i) * 3U + k); break;
      case Op::fold: sum = sum * 31 + at(0, i); break;
    }
  if (c.op == Op::fold) at(1, 0) = low(sum);
}

}  // namespace

Contents interpret(const Program& p) {
  Contents memory;
  for (const auto bytes : p.sizes) memory.emplace_back(bytes);
  for (const Stage& s : p.stages)
    for (const Meant& m : flatten(p, s, Order::recorded)) interpret(m.call, memory);
  for (std::size_t b = 0; b < memory.size(); ++b)
    if (p.scratch[b]) memory[b].clear();
  return memory;
}

// --------------------------------------------------------------------------------------------------------- executor

namespace {

// The first and the last stage that use something.
struct Life {
  std::size_t first = ~std::size_t{0}, last = 0;
  void use(std::size_t stage) {
    first = std::min(first, stage);
    last = stage;
  }
};

// A replay needs the plan's handle alone: that holds the buffers.
struct Lives {
  std::vector<Life> buffers, plans;
  explicit Lives(const Program& p) : buffers(p.sizes.size()), plans(p.plans.size()) {
    for (std::size_t s = 0; s < p.stages.size(); ++s)
      for (const Step& step : p.stages[s].steps) {
        if (step.what == Step::What::call) use(step.call, s);
        if (step.what == Step::What::keep || step.what == Step::What::release) buffers[step.buffer].use(s);
        if (step.what == Step::What::capture || step.what == Step::What::replay) plans[step.plan].use(s);
        if (step.what == Step::What::capture)
          for (const Step& captured : p.plans[step.plan].steps) use(captured.call, s);
      }
  }
  void use(const Call& c, std::size_t stage) {
    for (const Window& w : c.windows) buffers[w.buffer].use(stage);
  }
};

struct Handles {
  std::vector<Buffer> buffers;
  std::vector<std::optional<Plan>> plans;
};

Result<void> dispatch(CommandEncoder& e, const Call& c, const Captured* plan, const Handles& h) {
  std::array<Buffer, 3> bound;
  for (std::size_t i = 0; i < c.windows.size(); ++i) {
    bound[i] = h.buffers[c.windows[i].buffer];
    for (const auto [offset, bytes] : c.windows[i].views)
      bound[i] = HALYARD_TRY(bound[i].view(offset, DType::u8, {bytes}));
  }
  std::array<ParameterPlace, 2> places;
  std::size_t n = 0;
  if (c.c_from) places[n++] = {plan->parameters[*c.c_from].name, offsetof(Numbers, c), 4, UINT32_MAX};
  if (c.d_from) places[n++] = {plan->parameters[*c.d_from].name, offsetof(Numbers, d), 8, UINT64_MAX};
  const KernelRef kernel = HALYARD_TRY(e.kernel(kernel_of(c.op)));
  return e.dispatch({.kernel = kernel,
                     .grid = {items_of(c), 1, 1},
                     .buffers = std::span<const Buffer>(bound.data(), c.windows.size()),
                     .constants = c.numbers,
                     .parameters = std::span<const ParameterPlace>(places.data(), n)});
}

Result<Plan> capture(CommandEncoder& e, const Captured& plan, const Handles& h) {
  e.start_capture();
  for (const Step& s : plan.steps) {
    if (s.barrier_before) e.memory_barrier();
    HALYARD_TRY(dispatch(e, s.call, &plan, h));
  }
  const ComputeGraph graph = HALYARD_TRY(e.take_capture());
  std::vector<std::string_view> asked;
  for (const auto& parameter : plan.parameters)
    if (parameter.asked) asked.push_back(parameter.name);
  return (plan.reordered ? reorder(graph) : graph).compile(asked);
}

Result<void> replay(CommandEncoder& e, const Captured& captured, const Step& s, const Handles& h) {
  std::vector<PlanParameter> values;
  for (std::size_t i = captured.parameters.size(); i-- > 0;)  // their order does not matter
    if (captured.parameters[i].asked) values.push_back({captured.parameters[i].name, s.values[i]});
  return e.replay(*h.plans[s.plan], values);
}

Result<void> record(EncoderSession& session, CommandEncoder& e, const Program& p, const Stage& stage, Handles& h) {
  for (const Step& s : stage.steps) {
    if (s.barrier_before) e.memory_barrier();
    switch (s.what) {
      case Step::What::call: HALYARD_TRY(dispatch(e, s.call, nullptr, h)); break;
      case Step::What::capture: h.plans[s.plan] = HALYARD_TRY(capture(e, p.plans[s.plan], h)); break;
      case Step::What::replay: HALYARD_TRY(replay(e, p.plans[s.plan], s, h)); break;
      case Step::What::keep: session.add_to_residency_set(h.buffers[s.buffer]); break;
      case Step::What::release: session.remove_from_residency_set(h.buffers[s.buffer]); break;
    }
  }
  return {};
}

Result<void> run_plain(EncoderSession& s, Device& d, const Program& p, const Stage& stage, Handles& h) {
  CommandEncoder e = HALYARD_TRY(d.command_encoder({.hazards = p.hazards}));
  HALYARD_TRY(record(s, e, p, stage, h));
  if (stage.end == Stage::End::wait) return e.commit_and_wait();
  HALYARD_TRY(e.commit());
  return {};
}

Result<void> run_in_session(EncoderSession& s, const Program& p, const Stage& stage, Handles& h) {
  HALYARD_TRY(s.reset_for_next_stage());
  HALYARD_TRY(record(s, s.encoder(), p, stage, h));
  switch (stage.end) {
    case Stage::End::commit: return s.commit_stage();
    case Stage::End::fence: return s.fence_stage();
    case Stage::End::wait: break;
  }
  return s.commit_and_wait();
}

}  // namespace

Result<Contents> execute(const Program& p, Device d) {
  const Lives lives(p);
  Handles h{std::vector<Buffer>(p.sizes.size()), std::vector<std::optional<Plan>>(p.plans.size())};
  EncoderSession session = HALYARD_TRY(d.encoder_session({.hazards = p.hazards}));
  for (std::size_t s = 0; s < p.stages.size(); ++s) {
    for (std::size_t b = 0; b < h.buffers.size(); ++b)
      if (p.scratch[b] ? lives.buffers[b].first == s : s == 0)
        h.buffers[b] = HALYARD_TRY(d.alloc(DType::u8, {p.sizes[b]}));
    const Stage& stage = p.stages[s];
    HALYARD_TRY(stage.plain ? run_plain(session, d, p, stage, h) : run_in_session(session, p, stage, h));
    for (std::size_t b = 0; b < h.buffers.size(); ++b)
      if (p.scratch[b] && lives.buffers[b].last == s) h.buffers[b] = Buffer();
    for (std::size_t i = 0; i < h.plans.size(); ++i)
      if (lives.plans[i].last == s) h.plans[i].reset();
  }
  Contents contents(h.buffers.size());
  for (std::size_t b = 0; b < h.buffers.size(); ++b)
    if (!p.scratch[b]) contents[b] = HALYARD_TRY(h.buffers[b].read<Byte>());
  HALYARD_TRY(d.wait_idle());
  return contents;
}

}  // namespace halyard::testing
