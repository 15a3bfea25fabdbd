#include "halyard/hal/validate.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "halyard/hal/state.h"

namespace halyard {

WriteCheck::WriteCheck(const Record& record) {
  const AccessList& access = record.kernel->def->access;
  for (std::size_t i = 0; i < access.size(); ++i) {
    const Allocation* a = record.bindings[i].allocation;
    const auto same = [a](const Binding& b) { return b.allocation == a; };
    if (std::any_of(record.bindings, record.bindings + i, same)) continue;
    // What lies between the windows it writes, in order.
    std::vector<std::pair<std::int64_t, std::int64_t>> written;
    for (std::size_t k = i; k < access.size(); ++k)
      if (const Binding& b = record.bindings[k]; same(b) && access[k] != Access::read)
        written.emplace_back(b.offset, b.offset + b.bytes);
    std::sort(written.begin(), written.end());
    const auto size = static_cast<std::int64_t>(a->memory.bytes), guard = static_cast<std::int64_t>(a->guard);
    if (guard) add(i, a, -guard, 0);
    std::int64_t at = 0;
    for (const auto& [begin, end] : written) {
      add(i, a, at, begin);
      at = std::max(at, end);
    }
    add(i, a, at, size);
    if (guard) add(i, a, size, size + guard);
  }
}

void WriteCheck::add(std::size_t binding, const Allocation* a, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  Region r{binding, begin, end, a, 0};
  r.hash = hash_of(r);
  regions_.push_back(r);
}

// Eight bytes a step, each step a bijection of the state, so that a single changed word always shows.
std::uint64_t WriteCheck::hash_of(const Region& r) {
  const auto* p = static_cast<const std::byte*>(r.allocation->memory.host) + r.begin;
  std::uint64_t hash = 0;
  for (std::size_t left = static_cast<std::size_t>(r.end - r.begin); left;) {
    const std::size_t n = std::min<std::size_t>(left, 8);
    std::uint64_t word = 0;
    std::memcpy(&word, p, n);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 29;
    p += n;
    left -= n;
  }
  return hash;
}

std::string WriteCheck::violation() const {
  for (const Region& r : regions_) {
    if (hash_of(r) == r.hash) continue;
    const std::size_t size = r.allocation->memory.bytes;
    if (r.begin < 0) return fmt::format("writes before the {} bytes of memory at binding {}", size, r.binding);
    if (static_cast<std::size_t>(r.begin) == size && r.end > r.begin && r.allocation->guard)
      return fmt::format("writes past the {} bytes of memory at binding {}", size, r.binding);
    return fmt::format("writes to bytes [{}, {}) of the {} bytes of memory at binding {}, which it does not declare", r.begin,
                       r.end, size, r.binding);
  }
  return {};
}

}  // namespace halyard
