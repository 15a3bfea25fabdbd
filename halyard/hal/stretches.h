// What is known of each byte of memory: who wrote it last, whether anybody still reads it. Internal to hal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>

#include "halyard/hal/recording.h"

namespace halyard {

/// The bytes of one allocation, cut into stretches that share a T. Bytes never visited have T{}.
template <class T> class Stretches {
 public:
  /// f(T&, bytes) for each of the stretches that make up [begin, end), front to back; those that stick out are cut.
  template <class F> void visit(std::uint64_t begin, std::uint64_t end, const F& f) {
    cut(begin);
    cut(end);
    for (std::uint64_t at = begin; at < end;) {
      auto it = all_.lower_bound(at);
      if (it == all_.end() || it->first > at) {  // a gap
        const std::uint64_t stop = it == all_.end() ? end : std::min(end, it->first);
        it = all_.emplace_hint(it, at, Stretch{stop, T{}});
      }
      f(it->second.value, it->second.end - at);
      at = it->second.end;
    }
  }

 private:
  struct Stretch {
    std::uint64_t end;
    T value;
  };
  void cut(std::uint64_t at) {
    const auto after = all_.upper_bound(at);
    if (after == all_.begin()) return;
    const auto it = std::prev(after);
    if (it->first == at || it->second.end <= at) return;
    Stretch upper = it->second;
    it->second.end = at;
    all_.emplace_hint(after, at, std::move(upper));
  }

  std::map<std::uint64_t, Stretch> all_;  // by begin; disjoint
};

/// The same for all memory.
template <class T> class ByteMap {
 public:
  template <class F> void visit(const Binding& b, const F& f) {
    if (b.bytes) memory_[b.allocation].visit(b.offset, b.offset + b.bytes, f);
  }
  void set(const Binding& b, const T& value) {
    visit(b, [&](T& v, std::uint64_t) { v = value; });
  }
  /// Whether some byte of b has this value.
  bool any(const Binding& b, const T& value) {
    bool found = false;
    visit(b, [&](T& v, std::uint64_t) { found |= v == value; });
    return found;
  }

 private:
  std::unordered_map<const Allocation*, Stretches<T>> memory_;
};

/// f(binding) for each that the record reads.
template <class F> void for_each_read(const Record& r, const F& f) {
  const AccessList& access = r.kernel->def->access;
  for (std::size_t i = 0; i < access.size(); ++i)
    if (access[i] != Access::write) f(r.bindings[i]);
}
/// f(binding) for each that the record writes.
template <class F> void for_each_write(const Record& r, const F& f) {
  const AccessList& access = r.kernel->def->access;
  for (std::size_t i = 0; i < access.size(); ++i)
    if (access[i] != Access::read) f(r.bindings[i]);
}
/// f(binding) for each whose content before the record is lost: written, and not read.
template <class F> void for_each_overwritten(const Record& r, const F& f) {
  const AccessList& access = r.kernel->def->access;
  for (std::size_t i = 0; i < access.size(); ++i)
    if (access[i] == Access::write) f(r.bindings[i]);
}

inline bool overlap(const Binding& a, const Binding& b) {
  return a.allocation == b.allocation && a.bytes && b.bytes && a.offset < b.offset + b.bytes &&
         b.offset < a.offset + a.bytes;
}

}  // namespace halyard
