// Consecutive stages of work: each a command buffer that starts after the one before it.
#pragma once

#include <optional>
#include <string_view>

#include "halyard/hal/device.h"

namespace halyard::engine {

/// One EncoderSession whose stages are chained by fences, so that only the last is waited for; or, where
/// HALYARD_ENCODER_SESSION=0 is set, a plain encoder for each stage, each waited for.
class Stages {
 public:
  explicit Stages(Device device, bool use_session = EncoderSession::env_enabled())
      : device_(std::move(device)), use_session_(use_session) {}

  /// Opens a stage. The encoder is valid until the stage ends. What a stage that never ended recorded is discarded.
  Result<CommandEncoder*> begin(std::string_view label);
  /// Submits the stage; the next one starts after it.
  Result<void> end();
  /// Submits the stage and waits for it and all before it.
  Result<void> finish();
  /// Starts over after a failure: the next stage depends on nothing.
  void reset();

  /// The session in use, for its counters; null before the first stage and where sessions are off.
  const EncoderSession* session() const { return session_ ? &*session_ : nullptr; }

 private:
  Device device_;
  bool use_session_;
  bool open_ = false;
  std::string label_;
  std::optional<EncoderSession> session_;
  std::optional<CommandEncoder> encoder_;
};

}  // namespace halyard::engine
