#include "halyard/hal/counters.h"

#include <utility>

namespace halyard {

namespace {
void add(RecordCounts& to, const RecordCounter& c) {
  to.dispatches += c.dispatches.load(std::memory_order_relaxed);
  to.auto_barriers += c.auto_barriers.load(std::memory_order_relaxed);
  to.concurrent_dispatches += c.concurrent_dispatches.load(std::memory_order_relaxed);
  to.explicit_barriers += c.explicit_barriers.load(std::memory_order_relaxed);
}
}  // namespace

void RecordCounters::join(RecordCounter& c) {
  const std::lock_guard lock(mutex_);
  c.after_ = std::exchange(first_, &c);
  if (c.after_) c.after_->before_ = &c;
}

void RecordCounters::leave(RecordCounter& c) {
  const std::lock_guard lock(mutex_);
  add(gone_, c);
  (c.before_ ? c.before_->after_ : first_) = c.after_;
  if (c.after_) c.after_->before_ = c.before_;
}

RecordCounts RecordCounters::total() const {
  RecordCounts all = gone_;
  for (const RecordCounter* c = first_; c; c = c->after_) add(all, *c);
  return all;
}

RecordCounts RecordCounters::sum() const {
  const std::lock_guard lock(mutex_);
  const RecordCounts all = total();
  return {all.dispatches - base_.dispatches, all.auto_barriers - base_.auto_barriers,
          all.concurrent_dispatches - base_.concurrent_dispatches, all.explicit_barriers - base_.explicit_barriers};
}

void RecordCounters::reset() {
  const std::lock_guard lock(mutex_);
  base_ = total();
}

}  // namespace halyard
