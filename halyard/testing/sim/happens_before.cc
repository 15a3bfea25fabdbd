#include "halyard/testing/sim/happens_before.h"

#include <algorithm>
#include <bit>

namespace halyard::testing {
namespace {

bool share_bytes(const Binding& a, const Binding& b) {
  return a.allocation == b.allocation &&
         std::max(a.offset, b.offset) < std::min(a.offset + a.bytes, b.offset + b.bytes);
}

bool conflict(const Record& a, const Record& b) {
  const AccessList &of_a = a.kernel->def->access, &of_b = b.kernel->def->access;
  for (std::size_t i = 0; i < of_a.size(); ++i)
    for (std::size_t j = 0; j < of_b.size(); ++j)
      if ((of_a[i] != Access::read || of_b[j] != Access::read) && share_bytes(a.bindings[i], b.bindings[j]))
        return true;
  return false;
}

// A vector clock over processes of one event each, the dispatches: 1 where it is known to have finished. All dispatches
// between two barriers start with the same clock, and a barrier joins what they finished.
using Clock = std::vector<std::uint8_t>;

}  // namespace

std::vector<Conflict> unordered_conflicts(std::span<const Record> records) {
  Clock joined(records.size());      // the clock with which dispatches start from here on
  std::vector<std::size_t> running;  // since the last barrier
  std::vector<Conflict> found;
  for (std::size_t j = 0; j < records.size(); ++j) {
    if (records[j].barrier_before) {
      for (const std::size_t i : running) joined[i] = 1;
      running.clear();
    }
    for (std::size_t i = 0; i < j; ++i)
      if (!joined[i] && conflict(records[i], records[j])) found.push_back({i, j});
    running.push_back(j);
  }
  return found;
}

std::size_t count_barriers(std::span<const Record> records) {
  if (records.empty()) return 0;
  return static_cast<std::size_t>(
      std::count_if(records.begin() + 1, records.end(), [](const Record& r) { return r.barrier_before; }));
}

namespace {

// For a stretch of records in which none is forced.
std::size_t fewest_within(std::span<const Record> records) {
  const std::size_t n = records.size();
  std::vector<std::uint32_t> needed;  // sets of places of which one must hold a barrier
  for (std::size_t j = 1; j < n; ++j)
    for (std::size_t i = 0; i < j; ++i)
      if (conflict(records[i], records[j])) needed.push_back((2U << j) - (2U << i));
  if (needed.empty()) return 0;
  std::size_t best = n;
  for (std::uint32_t places = 0; places < 1U << n; places += 2) {
    const auto count = static_cast<std::size_t>(std::popcount(places));
    if (count >= best) continue;
    if (std::all_of(needed.begin(), needed.end(), [&](std::uint32_t some) { return (places & some) != 0; }))
      best = count;
  }
  return best;
}

}  // namespace

// A forced barrier orders all conflicts across it, so that what stands between two of them is searched by itself.
std::size_t fewest_barriers(std::span<const Record> records, const std::vector<bool>& forced) {
  std::size_t sum = 0, begin = 0;
  for (std::size_t i = 0; i <= records.size(); ++i) {
    if (i < records.size() && (i == 0 || !forced[i])) continue;
    sum += fewest_within(records.subspan(begin, i - begin)) + (i < records.size());
    begin = i;
  }
  return sum;
}

}  // namespace halyard::testing
