// A driver that stands before another one and hands every call on: for those that change only some.
#pragma once

#include <memory>
#include <utility>

#include "halyard/hal/driver.h"

namespace halyard::testing {

class ForwardingDriver : public Driver {
 public:
  explicit ForwardingDriver(std::unique_ptr<Driver> inner) : inner_(std::move(inner)) {}
  const Capabilities& capabilities() const override { return inner_->capabilities(); }
  Backend backend() const override { return inner_->backend(); }
  Result<Memory> allocate(std::size_t bytes) override { return inner_->allocate(bytes); }
  void free(const Memory& m) override { inner_->free(m); }
  Result<Memory> import(const void* data, std::size_t bytes) override { return inner_->import(data, bytes); }
  void end_import(const Memory& m) override { inner_->end_import(m); }
  Result<void> write(const Memory& to, std::size_t offset, std::span<const std::byte> from) override {
    return inner_->write(to, offset, from);
  }
  Result<void> read(const Memory& from, std::size_t offset, std::span<std::byte> to) override {
    return inner_->read(from, offset, to);
  }
  Result<void> pin(const Memory& m) override { return inner_->pin(m); }
  void unpin(const Memory& m) override { inner_->unpin(m); }
  PinnedMemory pinned_memory() const override { return inner_->pinned_memory(); }
  Result<std::unique_ptr<CompiledKernel>> compile(const KernelDef& def, const Constants& specialisation) override {
    return inner_->compile(def, specialisation);
  }
  Result<std::unique_ptr<const PreparedPlan>> prepare(const PlanState& p) override { return inner_->prepare(p); }
  Result<void> make_ready(Submission& s) override { return inner_->make_ready(s); }
  void submit(std::shared_ptr<Submission> s, bool will_wait) noexcept override {
    inner_->submit(std::move(s), will_wait);
  }
  void wait(std::uint64_t sequence) override { inner_->wait(sequence); }
  bool wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout) override {
    return inner_->wait_for(sequence, timeout);
  }

 protected:
  Driver& inner() { return *inner_; }
  /// For destructors: no call may follow.
  void drop_inner() { inner_.reset(); }

 private:
  std::unique_ptr<Driver> inner_;
};

}  // namespace halyard::testing
