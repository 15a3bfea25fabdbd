#include "halyard/hal/failure.h"

#include <algorithm>
#include <utility>

namespace halyard {

void FailureList::add(std::shared_ptr<Failure> f) {
  const std::lock_guard lock(mutex_);
  if (size_ >= drop_at_) drop_returned();
  Failure* const added = f.get();
  (last_ ? last_->next : first_) = std::move(f);
  last_ = added;
  ++size_;
}

void FailureList::drop_returned() {
  last_ = nullptr;
  size_ = 0;
  for (std::shared_ptr<Failure>* at = &first_; *at;) {
    if ((*at)->returned.load()) {
      *at = std::shared_ptr<Failure>(std::move((*at)->next));
    } else {
      last_ = at->get();
      ++size_;
      at = &last_->next;
    }
  }
  drop_at_ = std::max<std::size_t>(64, 2 * size_);
}

// One by one: a long list would take as deep a recursion.
void FailureList::clear() {
  while (first_) first_ = std::shared_ptr<Failure>(std::move(first_->next));
  last_ = nullptr;
  size_ = 0;
}

std::optional<Error> FailureList::tell_first() {
  const std::lock_guard lock(mutex_);
  std::optional<Error> told;
  for (Failure* f = first_.get(); f; f = f->next.get()) {
    if (f->returned.load()) continue;
    told = f->error;  // where there is no memory for that, nobody has been told
    if (!f->returned.exchange(true)) break;
    told.reset();
  }
  clear();
  return told;
}

void Timeline::signal_failure(std::uint64_t value, FenceFailure failure) {
  const std::lock_guard lock(mutex_);
  value_ = value;
  failure_ = std::move(failure);
}

std::optional<FenceFailure> Timeline::failure(std::uint64_t value) const {
  const std::lock_guard lock(mutex_);
  if (value == 0 || value != value_) return {};
  return failure_;
}

}  // namespace halyard
