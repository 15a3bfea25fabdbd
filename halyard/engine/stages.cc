#include "halyard/engine/stages.h"

namespace halyard::engine {

Result<CommandEncoder*> Stages::begin(std::string_view label) {
  if (open_) reset();
  label_ = label;
  if (!use_session_) {
    encoder_ = HALYARD_TRY(device_.command_encoder());
    open_ = true;
    return &*encoder_;
  }
  if (!session_) session_ = HALYARD_TRY(device_.encoder_session());
  HALYARD_TRY(session_->reset_for_next_stage());
  session_->begin_stage(label);
  open_ = true;
  return &session_->encoder();
}

Result<void> Stages::end() {
  open_ = false;
  return use_session_ ? session_->fence_stage() : encoder_->commit_and_wait(label_);
}

Result<void> Stages::finish() {
  open_ = false;
  return use_session_ ? session_->commit_and_wait() : encoder_->commit_and_wait(label_);
}

void Stages::reset() {
  open_ = false;
  session_.reset();
  encoder_.reset();
}

}  // namespace halyard::engine
