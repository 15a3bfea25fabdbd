#include "halyard/hal/session.h"

#include <utility>

#include "halyard/base/environment.h"
#include "halyard/hal/encoder_state.h"

namespace halyard {

EncoderSession::EncoderSession(EncoderSession&&) noexcept = default;
EncoderSession& EncoderSession::operator=(EncoderSession&&) noexcept = default;
EncoderSession::~EncoderSession() = default;

void EncoderSession::begin_stage(std::string_view label) { label_ = label; }

Result<void> EncoderSession::commit_stage() {
  if (drained_) return {};
  HALYARD_TRY(encoder_.commit(label_));
  drained_ = true;
  fence_pending_ = false;
  return {};
}

Result<void> EncoderSession::commit_and_wait() {
  if (drained_) return {};
  HALYARD_TRY(encoder_.state_->submit(label_, true));
  drained_ = true;
  fence_pending_ = false;
  encoder_.state_->device->stats.syncs.fetch_add(1, std::memory_order_relaxed);
  return encoder_.command_buffer().wait_until_completed();
}

Result<void> EncoderSession::fence_stage(std::optional<std::string_view> label) {
  if (drained_) return {};
  if (label) label_ = *label;
  if (!timeline_) timeline_ = std::make_shared<Timeline>();
  Submission& s = *encoder_.state_->submission;
  s.signal = timeline_;
  s.signal_value = fence_value_ + 1;
  HALYARD_TRY(encoder_.commit(label_));
  ++fence_value_;
  drained_ = true;
  fence_pending_ = true;
  return {};
}

Result<void> EncoderSession::reset_for_next_stage() {
  if (!drained_) return {};
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
}

bool EncoderSession::add_to_residency_set(const Buffer& b) {
  return b && encoder_.state_->device->residency.add(*b.allocation());
}
bool EncoderSession::remove_from_residency_set(const Buffer& b) {
  return b && encoder_.state_->device->residency.remove(*b.allocation());
}

bool EncoderSession::env_enabled() { return environment_switch("HALYARD_ENCODER_SESSION", true); }

}  // namespace halyard
