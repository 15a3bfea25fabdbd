// Where memory runs out: std::bad_alloc becomes an Error at the public call, or what it was for is left out.
#pragma once

#include <new>
#include <stdexcept>
#include <utility>

#include "halyard/base/result.h"

namespace halyard {

/// f()'s Result, or Errc::out_of_memory where an allocation failed in it. What f changed before must be undone by f. The
/// error has no message of its own, since there may be no memory for one: its text is its kind's name.
template <class F> auto guarded(F&& f) -> decltype(f()) {
  try {
    return std::forward<F>(f)();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {  // a size no container can have
  }
  return tl::unexpected<Error>(Error{Errc::out_of_memory, {}, {}});
}

/// What f makes, or a default one where there is no memory for it. For what can be left out: a failure's words, a report.
template <class F> auto if_memory(F&& f) noexcept -> decltype(f()) {
  try {
    return std::forward<F>(f)();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {}
  return decltype(f())();
}

}  // namespace halyard
