// JSON as events, for long lists that need no tree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "halyard/base/result.h"

namespace halyard {

/// Receives what a JSON text holds, in order. Each call returns whether to go on; `refuse` says no, with the reason. Strings
/// are valid UTF-8 with their escapes undone, and live until the call returns.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;
  virtual bool null() = 0;
  virtual bool boolean(bool) = 0;
  virtual bool negative(std::int64_t) = 0;  ///< an integer with a minus sign
  virtual bool whole(std::uint64_t) = 0;    ///< an integer without one
  virtual bool real(double) = 0;            ///< any other number; finite
  /// An integer beyond 64 bits, as written. Who returns no value gets the nearest real, or an error where there is none.
  virtual std::optional<bool> large(std::string_view) { return std::nullopt; }
  virtual bool string(std::string_view) = 0;
  virtual bool start_object() = 0;
  virtual bool key(std::string_view) = 0;
  virtual bool end_object() = 0;
  virtual bool start_array() = 0;
  virtual bool end_array() = 0;

  Error refusal;  ///< why a call returned false

 protected:
  bool refuse(std::string message, Errc code = Errc::bad_file) {
    refusal = Error{code, std::move(message), {}};
    return false;
  }
};

/// Reads one value (RFC 8259, valid UTF-8, a byte order mark before it allowed, nothing after it) in one pass, without
/// recursion. The error is the events' refusal, or says at which line and column the text is no JSON.
Result<void> read_json(std::string_view text, JsonEvents&, int max_depth = 128);

}  // namespace halyard
