// Random programs: stages of dispatches over buffers, views and views of views, whose arithmetic shows in which order it
// ran. They run on a device, or serially in a plain interpreter that knows nothing of devices.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "halyard/hal/device.h"

namespace halyard::testing {

/// What a dispatch does, byte by byte, with the constant c.
enum class Op : std::uint8_t {
  fill,        ///< out[i] = c + 7 i
  update,      ///< x[i] = 3 x[i] + c
  copy,        ///< out[i] = in[i] + c
  mix,         ///< out[i] = 3 a[i] + 5 b[i] + c
  accumulate,  ///< y[i] = 5 y[i] + x[i]
  mirror,      ///< out[i] = 3 in[n - 1 - i] + c
  fold,        ///< out[0] = (…(31 c + in[0]) · 31 + …) + in[n - 1]
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
  Op op;
  std::vector<Window> windows;
  std::uint8_t constant;
  bool barrier_before;  ///< memory_barrier() is called first
};

/// One command buffer.
struct Stage {
  enum class End : std::uint8_t { commit, fence, wait };
  bool plain;  ///< an encoder of its own, instead of the session's
  End end;
  std::vector<Call> calls;
};

struct Program {
  std::uint64_t seed = 0;
  std::vector<std::uint32_t> sizes;  ///< bytes of each buffer
  std::vector<bool> scratch;         ///< allocated before its first stage and dropped once its last one is committed
  std::vector<Stage> stages;
};

/// Programs of up to `max_calls` dispatches a stage.
Program random_program(std::uint64_t seed, std::uint32_t max_calls = 10);

/// The bytes of all buffers but scratch ones, in the end.
using Contents = std::vector<std::vector<std::uint8_t>>;
Contents interpret(const Program&);
Result<Contents> execute(const Program&, Device);

}  // namespace halyard::testing
