// An encoder carried across the stages of a transformer, each stage one command buffer, chained by fences.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "halyard/hal/encoder.h"

namespace halyard {

class Timeline;

/// Live: a command buffer is open and takes dispatches. Drained: it has been submitted; reset_for_next_stage() opens the
/// next. Not thread-safe. Dropping a session is safe in every state: what was not committed is discarded, what was
/// submitted completes.
class EncoderSession {
 public:
  EncoderSession(EncoderSession&&) noexcept;
  EncoderSession& operator=(EncoderSession&&) noexcept;
  ~EncoderSession();

  /// Stores the stage's label; the last one before a commit wins. Where there is no memory for it the stage has none.
  void begin_stage(std::string_view label);
  /// The encoder of the current stage. Commit through the session, not through it.
  CommandEncoder& encoder() { return encoder_; }

  /// Live: submits without waiting. Drained: nothing.
  Result<void> commit_stage();
  /// Live: submits and waits; returns the command buffer's failure. Drained: nothing.
  Result<void> commit_and_wait();
  /// Live: submits without waiting, signalling fence_value() + 1 when it completes, which the next stage will wait on;
  /// `label` replaces the stage's. Drained: nothing.
  Result<void> fence_stage(std::optional<std::string_view> label = {});
  /// Drained, or its encoder was committed by hand: opens a new command buffer, which waits on the pending fence if there
  /// is one. Live: nothing.
  Result<void> reset_for_next_stage();

  bool is_drained() const { return drained_; }
  bool is_fence_pending() const { return fence_pending_; }
  /// Whether a fence was ever signalled: the event is made on first use.
  bool has_event() const { return timeline_ != nullptr; }
  /// The value the last fence_stage() signals; 0 before the first.
  std::uint64_t fence_value() const { return fence_value_; }
  /// The value the last wait was for, and how many waits there were.
  std::uint64_t wait_value() const { return wait_value_; }
  std::uint64_t wait_count() const { return wait_count_; }

  /// Whether the device has a residency set. False, and nothing done, for a null buffer or one of another device. Members
  /// stay members, and what is none stays none.
  bool add_to_residency_set(const Buffer&);
  bool remove_from_residency_set(const Buffer&);

  /// The current stage's command buffer, open or submitted.
  CommandBuffer command_buffer() const { return encoder_.command_buffer(); }

  /// False where HALYARD_ENCODER_SESSION=0 is set: the engine then uses plain encoders.
  static bool env_enabled();

 private:
  friend class Device;
  bool may_be_member(const Buffer&) const;
  Result<void> check_live() const;  ///< an error where it was moved from
  explicit EncoderSession(CommandEncoder encoder) : encoder_(std::move(encoder)) {}

  CommandEncoder encoder_;
  std::shared_ptr<Timeline> timeline_;
  std::string label_;
  std::uint64_t fence_value_ = 0, wait_value_ = 0, wait_count_ = 0;
  bool drained_ = false, fence_pending_ = false;
};

}  // namespace halyard
