// The inside of a CommandEncoder.
#pragma once

#include <memory>
#include <optional>

#include "halyard/hal/counters.h"
#include "halyard/hal/encoder.h"
#include "halyard/hal/state.h"
#include "halyard/hal/submission.h"

namespace halyard {

struct [[gnu::visibility("hidden")]] CommandEncoder::State {
  State(std::shared_ptr<DeviceState>, EncoderOptions);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::shared_ptr<DeviceState> device;
  EncoderOptions options;
  std::shared_ptr<Submission> submission;  ///< being recorded, or the one committed
  bool barrier_pending = false;            ///< memory_barrier() was called since the last dispatch
  std::uint64_t id = 0;                    ///< marks the allocations this recording retains
  RecordCounter counts;

  std::optional<Recording> capture;  ///< none unless capturing
  bool barrier_before_capture = false;
  bool capture_spoilt = false;  ///< start_capture() was called again before take_capture()

  /// Starts a new command buffer. Throws std::bad_alloc, having changed nothing.
  void open();
  /// Drops what was recorded and not committed.
  void discard();
  using Buffers = std::span<const Buffer>;
  Result<void> check(const CompiledKernel*, Buffers) const;
  /// The part of it that few bindings need.
  Result<void> check_binding(const CompiledKernel&, std::size_t i, const Allocation*) const;
  static bool order(Recording&, const CompiledKernel&, Buffers);
  /// A dispatch that has been checked. `block` stays, or is copied where it is `fleeting`.
  struct Cut {
    const Grid& grid;
    const Grid& block;
    std::size_t shared_bytes;
    bool fleeting;
  };
  void append(Recording&, const CompiledKernel&, Buffers, const Constants&, const Cut&);
  Result<void> record(const CompiledKernel&, Buffers, const Constants&, const Cut&, std::span<const ParameterPlace>);
  static void record_places(Recording&, std::span<const ParameterPlace>);
  /// Why the command buffer cannot be submitted now, if so.
  Result<void> may_submit() const;
  Result<void> submit(std::string_view label, bool will_wait);
};

}  // namespace halyard
