// Fields of a tokenizer.json's parts, each with the error that names it, and token ids.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "halyard/base/json.h"
#include "halyard/base/quote.h"

namespace halyard::text {

inline tl::unexpected<Error> wrong_field(std::string_view key, std::string_view expected, const Json& came) {
  return fail(Errc::bad_file, fmt::format("\"{}\": expected {}, got {}", key, expected, came.type_name()));
}

/// The member of an object, or null where it is not there: never added, as [] of an object that is not const does.
inline const Json& field(const Json& object, std::string_view key) { return object[key]; }

inline Result<std::string> string_field(const Json& object, std::string_view key) {
  const Json& value = field(object, key);
  if (!value.is_string()) return wrong_field(key, "a string", value);
  return value.get<std::string>();
}

inline Result<bool> bool_field(const Json& object, std::string_view key, bool otherwise) {
  const Json& value = field(object, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) return wrong_field(key, "true or false", value);
  return value.get<bool>();
}

/// A token id, 0 to 2^31 - 1, where it is one.
inline std::optional<std::int32_t> token_id(const Json& value) {
  if (!value.is_integer() || value.get<std::uint64_t>() > 0x7fffffffU) return std::nullopt;
  return value.get<std::int32_t>();
}
inline Result<std::int32_t> token_id(const Json& value, std::string_view what) {
  if (const auto id = token_id(value)) return *id;
  return fail(Errc::bad_file, fmt::format("{}: expected an id from 0 to 2147483647, got {}", what,
                                          value.is_number() ? value.dump() : std::string(value.type_name())));
}

}  // namespace halyard::text
