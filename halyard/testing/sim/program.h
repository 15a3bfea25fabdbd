// Random programs: stages of dispatches over buffers, views and views of views, and plans captured and replayed among
// them, whose arithmetic shows in which order it ran and with which constants. They run on a device, or serially in a
// plain interpreter that knows nothing of devices.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "halyard/hal/device.h"

namespace halyard::testing {

/// What a dispatch does, byte by byte; k stirs all twelve bytes of its Numbers together.
enum class Op : std::uint8_t {
  fill,        ///< out[i] = k + 7 i
  update,      ///< x[i] = 3 x[i] + k
  copy,        ///< out[i] = in[i] + k
  mix,         ///< out[i] = 3 a[i] + 5 b[i] + k
  accumulate,  ///< y[i] = 5 y[i] + x[i] + k
  mirror,      ///< out[i] = 3 in[n - 1 - i] + k
  fold,        ///< out[0] = (…(31 k + in[0]) · 31 + …) + in[n - 1]
};

/// The constants of a dispatch, each of which may be a plan's parameter.
struct Numbers {
  std::uint32_t c = 0, unused = 0;
  std::uint64_t d = 0;
};

/// A window of a buffer, made by taking views of views.
struct Window {
  struct View {
    std::uint32_t offset, bytes;
  };
  std::uint32_t buffer = 0;
  std::vector<View> views;             ///< the outermost first
  std::uint32_t begin = 0, bytes = 0;  ///< what they come to, in the buffer
};

struct Call {
  Op op = Op::fill;
  std::vector<Window> windows;
  Numbers numbers;
  std::optional<std::size_t> c_from, d_from;  ///< the plan's parameters that they are
};

/// What an encoder is asked to do.
struct Step {
  enum class What : std::uint8_t { call, capture, replay, keep, release };
  What what = What::call;
  bool barrier_before = false;  ///< memory_barrier() is called first
  Call call = {};
  std::size_t plan = 0;               ///< which one is captured and compiled, or replayed
  std::size_t buffer = 0;             ///< keep, release: put into the residency set, or taken out of it
  std::vector<std::uint64_t> values;  ///< replay: of all parameters
};

/// Calls captured once and compiled to a plan.
struct Captured {
  struct Parameter {
    std::string_view name;
    bool wide;   ///< 64 bits: no 4-byte constant is this parameter
    bool asked;  ///< compile() is given its name; otherwise it keeps what was recorded
    std::uint64_t recorded;
  };
  std::vector<Step> steps;  ///< calls only
  std::vector<Parameter> parameters;
  bool reordered = false;  ///< the graph goes through reorder() before it is compiled
};

/// One command buffer.
struct Stage {
  enum class End : std::uint8_t { commit, fence, wait };
  bool plain;  ///< an encoder of its own, instead of the session's
  End end;
  std::vector<Step> steps;
};

struct Program {
  std::uint64_t seed = 0;
  Hazards hazards = Hazards::automatic;
  std::vector<std::uint32_t> sizes;  ///< bytes of each buffer
  std::vector<bool> scratch;         ///< allocated before its first stage; dropped once its last one is committed
  std::vector<Captured> plans;       ///< dropped once the last stage that replays it is committed
  std::vector<Stage> stages;
};

/// Programs of up to `max_steps` steps a stage.
Program random_program(std::uint64_t seed, std::uint32_t max_steps = 10);

/// The same with hazards by hand: a barrier before each call that conflicts with one since the last barrier.
Program by_hand(Program);

/// Why a barrier must stand before a dispatch.
struct Forced {
  bool by_hand = false;  ///< memory_barrier() was called
  bool replay_begins = false, replay_ended = false;
  bool across_capture = false;  ///< the reason came up before a capture that stands in between
  bool any() const { return by_hand || replay_begins || replay_ended; }
};

/// A dispatch as the program means it.
struct Meant {
  Call call;  ///< with this replay's numbers
  Forced forced;
  bool of_plan = false;
};

/// The dispatches of a stage in the order in which they are submitted, those of replayed plans among them.
std::vector<Meant> flatten(const Program&, const Stage&);

/// What the counters come to.
struct Counts {
  std::uint64_t dispatches = 0, explicit_barriers = 0, command_buffers = 0, syncs = 0;
  std::map<std::string_view, std::uint64_t> by_kernel;  ///< dispatches that have work-items
};
Counts count(const Program&);

/// The bytes of all buffers but scratch ones, in the end.
using Contents = std::vector<std::vector<std::uint8_t>>;
Contents interpret(const Program&);
Result<Contents> execute(const Program&, Device);

/// How the kernel of an operation uses its windows, and its name.
AccessList access_of(Op);
std::string_view name_of(Op);

}  // namespace halyard::testing
