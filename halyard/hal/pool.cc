#include "halyard/hal/pool.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include <fmt/format.h>

#include "halyard/hal/state.h"
#include "halyard/hal/validate.h"

namespace halyard {

struct BufferPool::State {
  explicit State(Device d) : device(std::move(d)) {}
  using Memory = std::shared_ptr<Allocation>;

  Device device;
  mutable std::mutex mutex;
  std::map<std::size_t, std::vector<Memory>> free;  // by size
  std::vector<Memory> out;

  // Held by the pool alone: no handle is left and no recording that has not completed uses it.
  static bool unused(const Memory& m) { return m.use_count() == 1; }

  Memory take(std::size_t bytes) {
    auto& list = free[bytes];
    const auto it = std::find_if(list.begin(), list.end(), unused);
    if (it == list.end()) return nullptr;
    Memory m = std::move(*it);
    list.erase(it);
    return m;
  }
};

BufferPool::BufferPool(Device d) : state_(std::make_shared<State>(std::move(d))) {}

Result<Buffer> BufferPool::acquire(DType dtype, Shape shape) {
  constexpr std::size_t smallest = 256, largest = std::size_t{1} << 62;
  std::size_t bytes = 0;
  if (!shape.elements(bytes) || __builtin_mul_overflow(bytes, size_of(dtype), &bytes) || bytes > largest)
    return fail(Errc::invalid_argument, fmt::format("a buffer of {} {}: too large", to_string(dtype), to_string(shape)));
  bytes = std::bit_ceil(std::max(bytes, smallest));
  const std::lock_guard lock(state_->mutex);
  State::Memory memory = state_->take(bytes);
  if (!memory) memory = HALYARD_TRY(state_->device.alloc(DType::u8, {bytes})).allocation();
  if (memory->guard) std::memset(memory->memory.host, poison, memory->memory.bytes);  // a validating device
  state_->out.push_back(memory);
  return Buffer(std::move(memory), 0, dtype, shape);
}

Result<void> BufferPool::release(const Buffer& b) {
  const std::lock_guard lock(state_->mutex);
  auto& out = state_->out;
  const auto it = std::find(out.begin(), out.end(), b.allocation());
  if (!b || it == out.end())
    return fail(Errc::invalid_state, "release of a buffer that is not out: released before, or not from this pool");
  state_->free[(*it)->memory.bytes].push_back(*it);
  out.erase(it);
  return {};
}

void BufferPool::trim() {
  const std::lock_guard lock(state_->mutex);
  for (auto& [bytes, list] : state_->free) std::erase_if(list, State::unused);
}

std::size_t BufferPool::bytes_out() const {
  const std::lock_guard lock(state_->mutex);
  std::size_t n = 0;
  for (const auto& m : state_->out) n += m->memory.bytes;
  return n;
}

std::size_t BufferPool::bytes_held() const {
  std::size_t n = bytes_out();
  const std::lock_guard lock(state_->mutex);
  for (const auto& [bytes, list] : state_->free) n += bytes * list.size();
  return n;
}

}  // namespace halyard
