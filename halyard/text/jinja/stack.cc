#include "halyard/text/jinja/stack.h"

#include <algorithm>

#include <pthread.h>

namespace halyard::jinja {
namespace {

// What runs between two looks at the limit: walks over values, which nest 200 deep, formatting, and the throw itself.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t reserve = std::size_t{384} << 10;
#else
constexpr std::size_t reserve = std::size_t{96} << 10;
#endif

}  // namespace

StackLimit::StackLimit() : lowest_(0) {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  void* bottom = nullptr;
  std::size_t size = 0;
  if (pthread_attr_getstack(&attributes, &bottom, &size) == 0)
    lowest_ = reinterpret_cast<std::uintptr_t>(bottom) + std::min(reserve, size / 2);
  pthread_attr_destroy(&attributes);
}

}  // namespace halyard::jinja
