#include "halyard/hal/validate.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/cpu/job.h"

namespace halyard {

namespace {

using Range = std::pair<std::int64_t, std::int64_t>;

/// Calls f(begin, end) for what the ranges leave of [begin, end).
template <class F> void for_gaps(std::vector<Range> ranges, std::int64_t begin, std::int64_t end, const F& f) {
  std::sort(ranges.begin(), ranges.end());
  ranges.emplace_back(end, end);
  for (const auto& [from, to] : ranges) {
    if (begin < std::min(from, end)) f(begin, std::min(from, end));
    begin = std::max(begin, to);
  }
}

/// The windows of an allocation that a record binds with an access that `wanted` accepts.
template <class Wanted> std::vector<Range> windows(const Record& r, const Allocation* a, const Wanted& wanted) {
  std::vector<Range> ranges;
  const AccessList& access = r.kernel->def->access;
  for (std::size_t i = 0; i < access.size(); ++i)
    if (const Binding& b = r.bindings[i]; b.allocation == a && wanted(access[i]))
      ranges.emplace_back(b.offset, b.offset + b.bytes);
  return ranges;
}

/// Whoever only writes a window says nothing about what stood there.
void poison_write_only(const Record& r) {
  const auto reads = [](Access a) { return a != Access::write; };
  for (std::size_t i = 0; i < r.kernel->def->access.size(); ++i) {
    if (reads(r.kernel->def->access[i])) continue;
    const Binding& b = r.bindings[i];
    auto* host = cpu_address(b.allocation->memory);
    for_gaps(windows(r, b.allocation, reads), static_cast<std::int64_t>(b.offset),
             static_cast<std::int64_t>(b.offset + b.bytes), [&](std::int64_t begin, std::int64_t end) {
               std::memset(host + begin, poison, static_cast<std::size_t>(end - begin));
             });
  }
}

}  // namespace

WriteCheck::WriteCheck(const Record& record, bool fresh, Allowed allowed) {
  if (fresh) poison_write_only(record);
  for (std::size_t i = 0; i < record.kernel->def->access.size(); ++i) {
    const Allocation* a = record.bindings[i].allocation;
    const auto same = [a](const Binding& b) { return b.allocation == a; };
    if (std::any_of(record.bindings, record.bindings + i, same)) continue;
    const auto size = static_cast<std::int64_t>(a->memory.bytes), guard = static_cast<std::int64_t>(a->guard);
    if (guard) add(i, a, -guard, 0);
    for_gaps(windows(record, a, [&](Access w) { return w != Access::read && allowed == Allowed::declared; }), 0, size,
             [&](std::int64_t begin, std::int64_t end) { add(i, a, begin, end); });
    if (guard) add(i, a, size, size + guard);
  }
}

void WriteCheck::add(std::size_t binding, const Allocation* a, std::int64_t begin, std::int64_t end) {
  Region r{binding, begin, end, a, 0};
  r.hash = hash_of(r);
  regions_.push_back(r);
}

// Eight bytes a step, each step a bijection of the state, so that a single changed word always shows.
std::uint64_t WriteCheck::hash_of(const Region& r) {
  const auto* p = cpu_address(r.allocation->memory) + r.begin;
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

bool WriteCheck::any_violation() const {
  return std::any_of(regions_.begin(), regions_.end(), [](const Region& r) { return hash_of(r) != r.hash; });
}

std::string WriteCheck::violation() const {
  for (const Region& r : regions_) {
    if (hash_of(r) == r.hash) continue;
    const std::size_t size = r.allocation->memory.bytes;
    if (r.begin < 0) return fmt::format("writes before the {} bytes of memory at binding {}", size, r.binding);
    if (static_cast<std::size_t>(r.begin) == size && r.end > r.begin && r.allocation->guard)
      return fmt::format("writes past the {} bytes of memory at binding {}", size, r.binding);
    return fmt::format("writes to bytes [{}, {}) of the {} bytes of memory at binding {}, which it may not", r.begin,
                       r.end, size, r.binding);
  }
  return {};
}

}  // namespace halyard
