// The operator new of test programs. It takes memory from malloc, so that sanitizers still see every allocation; AddressSanitizer
// loses only its check that delete[] goes with new[].
#include "halyard/testing/fail_new.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace halyard::testing {
namespace {

enum class Counting : std::uint8_t { nothing, this_thread, other_threads };
// Operator new has no other place to find these in.
std::atomic<Counting> counting{Counting::nothing};
std::atomic<std::uint64_t> to_fail{0}, seen{0};
std::atomic<std::size_t> largest{0};
thread_local bool owner = false;
thread_local int spared = 0;
thread_local std::ptrdiff_t held = 0, most_held = 0;  // by this thread, less what it freed of others' memory

void* counted(void* p) {
  if (p) most_held = std::max(most_held, held += static_cast<std::ptrdiff_t>(::malloc_usable_size(p)));
  return p;
}

void give_back(void* p) {
  if (p) held -= static_cast<std::ptrdiff_t>(::malloc_usable_size(p));
  std::free(p);
}

bool fails() {
  const Counting c = counting.load(std::memory_order_acquire);
  if (c == Counting::nothing || spared || owner != (c == Counting::this_thread)) return false;
  return seen.fetch_add(1) + 1 == to_fail.load();
}

void* take(std::size_t bytes, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  std::size_t most = largest.load(std::memory_order_relaxed);
  while (bytes > most && !largest.compare_exchange_weak(most, bytes, std::memory_order_relaxed)) {}
  bytes = std::max<std::size_t>(bytes, 1);
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return counted(std::malloc(bytes));
  return counted(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment));
}

void* take_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* p = take(bytes, alignment)) return p;
  throw std::bad_alloc();
}

}  // namespace

FailNew::FailNew(std::uint64_t n, Allocating a) {
  owner = true;
  seen = 0;
  to_fail = n;
  counting = a == Allocating::this_thread ? Counting::this_thread : Counting::other_threads;
}
FailNew::~FailNew() {
  counting = Counting::nothing;
  owner = false;
}
std::uint64_t FailNew::count() const { return seen.load(); }
bool FailNew::failed() const { return to_fail.load() != 0 && seen.load() >= to_fail.load(); }

SpareNew::SpareNew() { ++spared; }
SpareNew::~SpareNew() { --spared; }

LargestNew::LargestNew() { largest = 0; }
std::size_t LargestNew::bytes() const { return largest.load(); }

MostNew::MostNew() : start_(held) { most_held = held; }
std::size_t MostNew::bytes() const { return static_cast<std::size_t>(most_held - start_); }

}  // namespace halyard::testing

using halyard::testing::give_back;
using halyard::testing::take;
using halyard::testing::take_or_throw;
void* operator new(std::size_t n) { return take_or_throw(n, 1); }
void* operator new[](std::size_t n) { return take_or_throw(n, 1); }
void* operator new(std::size_t n, std::align_val_t a) { return take_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return take_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return take(n, 1); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return take(n, 1); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return take(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { give_back(p); }
