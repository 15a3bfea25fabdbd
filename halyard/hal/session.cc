#include "halyard/hal/session.h"

#include <utility>

#include "halyard/base/environment.h"
#include "halyard/hal/allocation.h"
#include "halyard/hal/encoder_state.h"
#include "halyard/hal/submission.h"

namespace halyard {

EncoderSession::EncoderSession(EncoderSession&&) noexcept = default;
EncoderSession& EncoderSession::operator=(EncoderSession&&) noexcept = default;
EncoderSession::~EncoderSession() = default;

void EncoderSession::begin_stage(std::string_view label) {
  label_ = if_memory([&] { return std::string(label); });
}

Result<void> EncoderSession::check_live() const {
  if (encoder_.state_) return {};
  return fail(Errc::invalid_state, "a session that was moved from");
}

Result<void> EncoderSession::commit_stage() {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_live());
    if (drained_) return {};
    HALYARD_TRY(encoder_.commit(label_));
    drained_ = true;
    fence_pending_ = false;
    return {};
  });
}

Result<void> EncoderSession::commit_and_wait() {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_live());
    if (drained_) return {};
    HALYARD_TRY(encoder_.state_->submit(label_, true));
    drained_ = true;
    fence_pending_ = false;
    encoder_.state_->device->stats.syncs.fetch_add(1, std::memory_order_relaxed);
    return encoder_.command_buffer().wait_until_completed();
  });
}

Result<void> EncoderSession::fence_stage(std::optional<std::string_view> label) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_live());
    if (drained_) return {};
    if (label) label_ = *label;
    // A signal on a command buffer that stays open would reach the next commit.
    HALYARD_TRY(encoder_.state_->may_submit());
    auto timeline = timeline_ ? timeline_ : std::make_shared<Timeline>();
    Submission& s = *encoder_.state_->submission;
    s.signal = timeline;
    s.signal_value = fence_value_ + 1;
    if (auto committed = encoder_.commit(label_); !committed) {
      s.signal.reset();
      s.signal_value = 0;
      return fail(std::move(committed).error());
    }
    timeline_ = std::move(timeline);
    ++fence_value_;
    drained_ = true;
    fence_pending_ = true;
    return {};
  });
}

Result<void> EncoderSession::reset_for_next_stage() {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_live());
    // A command buffer committed through encoder() is gone too: without this the session could do nothing ever after.
    const bool open = encoder_.state_->submission->status.load(std::memory_order_acquire) == CommandBufferStatus::open;
    if (!drained_ && open) return {};
    encoder_.state_->open();
    if (fence_pending_) {
      Submission& s = *encoder_.state_->submission;
      s.wait_on = timeline_;
      s.wait_value = wait_value_ = fence_value_;
      ++wait_count_;
    }
    drained_ = fence_pending_ = false;
    label_.clear();
    return {};
  });
}

// Every device of this process has a residency set; memory of another one is not for it.
bool EncoderSession::may_be_member(const Buffer& b) const {
  return b && encoder_.state_ && b.allocation()->device == encoder_.state_->device &&
         !encoder_.state_->device->is_of_parent();
}

bool EncoderSession::add_to_residency_set(const Buffer& b) {
  return may_be_member(b) && (encoder_.state_->device->residency.add(*b.allocation()), true);
}
bool EncoderSession::remove_from_residency_set(const Buffer& b) {
  return may_be_member(b) && (encoder_.state_->device->residency.remove(*b.allocation()), true);
}

bool EncoderSession::env_enabled() { return environment_switch("HALYARD_ENCODER_SESSION", true); }

}  // namespace halyard
