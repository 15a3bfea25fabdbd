// JSON that tests read and change.
#pragma once

#include <charconv>
#include <string_view>

#include "halyard/base/json.h"

namespace halyard::testing {

/// The value of a text, or null where the text is no JSON.
inline Json json_of(std::string_view text) { return parse_json(text, {.exact_integers = true}).value_or(Json()); }

/// The value at a path: "/model/merges/0". A member that is not there is added; "-" adds to an array.
inline Json& at_path(Json& root, std::string_view path) {
  Json* at = &root;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view step = path.substr(0, path.find('/'));
    path.remove_prefix(step.size());
    std::size_t i = 0;
    if (at->is_array()) std::from_chars(step.data(), step.data() + step.size(), i);
    at = !at->is_array() ? &(*at)[step] : step == "-" ? &at->push_back(nullptr) : &(*at)[i];
  }
  return *at;
}

}  // namespace halyard::testing
