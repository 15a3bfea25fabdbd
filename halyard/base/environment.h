// Environment variables. One that is set to nothing counts as one that is not set.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace halyard {

inline std::optional<std::string> environment(const char* variable) {
  const char* value = std::getenv(variable);
  if (!value || !*value) return std::nullopt;
  return value;
}

/// Whether something is on: "0" is off, anything else on.
inline bool environment_switch(const char* variable, bool otherwise) {
  const auto value = environment(variable);
  return value ? *value != "0" : otherwise;
}

}  // namespace halyard
