#include "halyard/hal/pool.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_set>
#include <vector>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/state.h"
#include "halyard/hal/validate.h"

namespace halyard {
namespace {

constexpr std::size_t smallest = 256, largest = std::size_t{1} << 62;

/// The least of the sizes 4, 5, 6, 7 · 2^k that holds the bytes.
std::size_t size_class(std::size_t bytes) {
  bytes = std::max(bytes, smallest);
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

}  // namespace

struct BufferPool::State {
  explicit State(Device d) : device(std::move(d)) {}
  using Memory = std::shared_ptr<Allocation>;
  struct Class {
    static constexpr std::size_t unknown = static_cast<std::size_t>(-1);
    std::vector<Memory> released;  // the latest last; with room for all there are, for giving back asks for no memory
    std::size_t all = 0;           // allocations, released or out
    std::size_t spare = unknown;   // the fewest idle after an acquire since the last period's end
  };

  Device device;
  mutable std::mutex mutex;
  std::map<std::size_t, Class> classes;  // by size; stays as long as one of its allocations
  std::unordered_set<Memory> out;
  PoolStats stats;

  bool is_of_parent() const { return device.state() && device.state()->is_of_parent(); }

  // Held by the pool alone: no handle is left, and no work in flight. That the work is seen to have completed also makes
  // what it wrote happen before.
  bool idle(const Memory& m) const {
    return m.use_count() == 1 && m->kept.load(std::memory_order_acquire) == 1 &&
           m->last_use() <= device.state()->completed.load(std::memory_order_acquire);
  }

  // The one released last may still be in a cache.
  Memory take(Class& c) {
    Memory taken;
    std::size_t left = 0;
    for (std::size_t i = c.released.size(); i-- > 0;) {
      if (!idle(c.released[i])) continue;
      if (taken) {
        ++left;
        continue;
      }
      taken = std::move(c.released[i]);
      c.released.erase(c.released.begin() + static_cast<std::ptrdiff_t>(i));
    }
    c.spare = std::min(c.spare, left);
    return taken;
  }

  // Frees up to n idle allocations, the first released first.
  void free(Class& c, std::size_t n) {
    std::erase_if(c.released, [&](const Memory& m) {
      if (n == 0 || !idle(m)) return false;
      --n;
      --c.all;
      ++stats.freed;
      stats.bytes_held -= m->memory.bytes;
      return true;
    });
  }
  void free_idle() {
    for (auto& [bytes, c] : classes) free(c, c.released.size());
  }
  void end_period() {
    for (auto& [bytes, c] : classes) free(c, std::exchange(c.spare, Class::unknown));
    std::erase_if(classes, [](const auto& c) { return c.second.all == 0; });
  }

  Result<Memory> allocate(Class& c, std::size_t bytes) {
    if (c.released.capacity() == c.all) c.released.reserve(std::max<std::size_t>(4, 2 * c.all));
    auto b = device.alloc(DType::u8, {bytes});
    if (!b && b.error().code == Errc::out_of_memory) {
      free_idle();
      b = device.alloc(DType::u8, {bytes});
    }
    if (!b)
      return fail(std::move(b).error(),
                  fmt::format("a pool that holds {} bytes, {} of them handed out", stats.bytes_held, stats.bytes_out));
    stats.bytes_held += bytes;
    ++c.all;
    return b->allocation();
  }
};

BufferPool::BufferPool(Device d)
    : state_(if_memory([&] { return std::make_shared<State>(std::move(d)); })), no_memory_(!state_) {}

Result<void> BufferPool::check_state() const {
  if (state_) return state_->is_of_parent() ? state_->device.state()->check_lost() : Result<void>();
  return no_memory_ ? fail(Errc::out_of_memory, "there was no memory for the pool")
                    : fail(Errc::invalid_state, "a pool that was moved from");
}

Result<Buffer> BufferPool::acquire(DType dtype, Shape shape) {
  return guarded([&] { return take(dtype, shape); });
}

Result<Buffer> BufferPool::take(DType dtype, const Shape& shape) {
  std::size_t bytes = 0;
  if (!shape.elements(bytes) || __builtin_mul_overflow(bytes, size_of(dtype), &bytes) || bytes > largest)
    return fail(Errc::invalid_argument,
                fmt::format("a buffer of {} {}: too large", to_string(dtype), to_string(shape)));
  HALYARD_TRY(check_state());
  bytes = size_class(bytes);
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  State::Class& c = s.classes[bytes];
  State::Memory memory = s.take(c);
  const bool reused = memory != nullptr;
  if (!reused) memory = HALYARD_TRY(s.allocate(c, bytes));
  try {
    s.out.insert(memory);
  } catch (...) {
    c.released.push_back(std::move(memory));
    throw;
  }
  s.stats.reused += reused;
  if (memory->guard) std::memset(memory->memory.host, poison, bytes);  // a validating device
  s.stats.bytes_out += bytes;
  s.stats.peak_out = std::max(s.stats.peak_out, s.stats.bytes_out);
  if (++s.stats.acquired % period == 0) s.end_period();
  return Buffer(std::move(memory), 0, dtype, shape);
}

Result<void> BufferPool::release(const Buffer& b) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_state());
    State& s = *state_;
    const std::lock_guard lock(s.mutex);
    auto node = s.out.extract(b.allocation());
    if (node.empty())
      return fail(Errc::invalid_state, "release of a buffer that is not out: released before, or not from this pool");
    const std::size_t bytes = node.value()->memory.bytes;
    s.stats.bytes_out -= bytes;
    s.classes.find(bytes)->second.released.push_back(std::move(node.value()));
    return {};
  });
}

void BufferPool::trim() {
  if (!state_ || state_->is_of_parent()) return;
  const std::lock_guard lock(state_->mutex);
  state_->free_idle();
}

PoolStats BufferPool::stats() const {
  if (!state_ || state_->is_of_parent()) return {};
  const std::lock_guard lock(state_->mutex);
  return state_->stats;
}

}  // namespace halyard
