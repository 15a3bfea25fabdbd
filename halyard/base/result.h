// Result<T>: a value or an Error. No public call of Halyard throws, aborts or prints.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "halyard/base/quote.h"

namespace halyard {

/// What kind of failure an Error is: the part of it a program may branch on.
enum class Errc {
  invalid_argument,   ///< a wrong shape, dtype, range or option
  invalid_state,      ///< the call is not allowed now (an encoder that is already committed, a buffer already released)
  unsupported,        ///< well formed, but not something this device or build can do
  not_found,          ///< no such file, tensor, kernel, device
  bad_file,           ///< a file's content contradicts its format, its size or the other files of the model
  io,                 ///< the operating system refused a file operation
  out_of_memory,      ///< an allocation failed or would exceed the device's budget
  limit_exceeded,     ///< a limit on work, depth or size was reached
  kernel_failed,      ///< a kernel reported failure
  dependency_failed,  ///< a command buffer waited on a fence whose command buffer failed
  device_lost,        ///< the device no longer answers
  timeout,            ///< a command buffer did not finish in the time set
  cancelled,          ///< the caller asked to stop
  internal,           ///< a defect of Halyard
};

/// The enumerator's name, for messages and logs.
std::string_view to_string(Errc);

/// A failure: its kind, one line saying what was expected and what came, and what was being done, innermost first.
struct Error {
  Errc code = Errc::internal;
  std::string message;
  std::vector<std::string> contexts;

  /// The same error, having happened while doing `context`.
  Error&& in(std::string context) && {
    contexts.push_back(printable(std::move(context)));
    return std::move(*this);
  }

  /// One line: the contexts, outermost first, then the message. See printable(). Empty where there is no memory for it.
  std::string str() const;
};

/// T, or why there is none. `Result<void>` is an outcome alone.
template <class T> using Result = tl::expected<T, Error>;

/// The failure to return: `return fail(Errc::io, fmt::format(...))`.
inline tl::unexpected<Error> fail(Errc code, std::string message) {
  return tl::unexpected<Error>(Error{code, printable(std::move(message)), {}});
}

/// Passes another call's failure on, optionally saying what was being done.
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }
inline tl::unexpected<Error> fail(Error error, std::string context) {
  return tl::unexpected<Error>(std::move(error).in(std::move(context)));
}

namespace internal {
template <class T> T take(Result<T>& r) { return std::move(*r); }
inline void take(Result<void>&) {}
}  // namespace internal

}  // namespace halyard

/// The value of a Result, or return its error from the function this stands in. A macro because only a macro can return
/// for its caller.
#define HALYARD_TRY(...)                                             \
  __extension__({                                                    \
    auto halyard_try_result = (__VA_ARGS__);                         \
    if (!halyard_try_result) [[unlikely]]                            \
      return ::halyard::fail(std::move(halyard_try_result).error()); \
    ::halyard::internal::take(halyard_try_result);                   \
  })
