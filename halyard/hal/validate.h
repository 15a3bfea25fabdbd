// Validation: a dispatch writes only the bytes that its kernel declares to write, and what nobody has written is poison.
//
// Poisoned are, on a validating device whose memory the host sees: the windows that a dispatch declares to write and not
// to read, before it runs; a tile's scratch; memory that a pool gives out; memory that is freed. alloc() promises zeros, and
// keeps that promise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "halyard/hal/recording.h"

namespace halyard {

/// Memory of a validating device has this many bytes of its own before and after it.
inline constexpr std::size_t guard_bytes = 4096;
/// What they hold, and all that is undefined: bytes that make a NaN of every kind of float, and -1 of an integer.
inline constexpr int poison = 0xff;

/// Remembers, by hash, all bytes of the memory that a dispatch binds but may not write, guards included.
/// Sees what changes while it lives, so nothing else may run on that memory. Needs host-visible memory.
class WriteCheck {
 public:
  enum class Allowed : std::uint8_t { nothing, declared };
  /// `fresh`: none of the dispatch has run yet; what it only writes is poisoned first.
  WriteCheck(const Record&, bool fresh, Allowed = Allowed::declared);
  /// What was written against the declaration: "writes bytes [0, 64) of …"; empty where nothing was.
  std::string violation() const;
  bool any_violation() const;

 private:
  struct Region {
    std::size_t binding;      // the first that binds the allocation
    std::int64_t begin, end;  // bytes from the allocation's start; before it and past it: guards
    const Allocation* allocation;
    std::uint64_t hash;
  };
  void add(std::size_t binding, const Allocation*, std::int64_t begin, std::int64_t end);
  static std::uint64_t hash_of(const Region&);

  std::vector<Region> regions_;
};

}  // namespace halyard
