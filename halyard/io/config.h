// Reading the fields of config.json, where any field may be absent, null or of the wrong type.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/base/quote.h"
#include "halyard/base/result.h"

namespace halyard {

/// Which numbers a field allows.
struct NumberRule {
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
  bool above_min = false;  ///< `min` itself is not allowed
  bool non_finite =
      false;  ///< infinities are allowed whatever `min` and `max` are: "Infinity", "-Infinity", {"__float__": "Infinity"}
};

/// A JSON object of a file, read field by field. A field that is null counts as absent.
///
/// Errors are bad_file and read "FILE: FIELD: expected an integer from 1 to 1048576, got "64"". The object must outlive
/// the view.
class ConfigView {
 public:
  /// `prefix` stands before each field's name in errors: "" or "text_config.".
  ConfigView(const Json& object, std::string file, std::string prefix = {})
      : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {}

  const Json& json() const { return *object_; }
  const std::string& file() const { return file_; }
  const std::string& prefix() const { return prefix_; }

  /// The field's value, or null where it is absent or null.
  const Json* raw(std::string_view field) const;
  bool has(std::string_view field) const { return raw(field) != nullptr; }

  Result<std::int64_t> integer(std::string_view field, std::int64_t min, std::int64_t max) const;
  Result<double> number(std::string_view field, NumberRule = {}) const;  ///< integers count as numbers
  Result<bool> boolean(std::string_view field) const;
  Result<std::string> string(std::string_view field) const;
  Result<ConfigView> object(std::string_view field) const;

  // The same, with a value for where the field is absent; a field of the wrong type is still an error.
  Result<std::int64_t> integer_or(std::string_view field, std::int64_t absent, std::int64_t min,
                                  std::int64_t max) const;
  Result<double> number_or(std::string_view field, double absent, NumberRule = {}) const;
  Result<bool> boolean_or(std::string_view field, bool absent) const;
  Result<std::string> string_or(std::string_view field, std::string absent) const;

  // Lists. An absent field is an error; errors name the element, "layer_types[3]".
  Result<std::vector<std::int64_t>> integers(std::string_view field, std::int64_t min, std::int64_t max) const;
  Result<std::vector<double>> numbers(std::string_view field, NumberRule = {}) const;
  Result<std::vector<bool>> booleans(std::string_view field) const;
  Result<std::vector<std::string>> strings(std::string_view field) const;

  /// The failure "FILE: FIELD: what", for what only the caller can know to be wrong.
  tl::unexpected<Error> error(std::string_view field, std::string_view what, Errc code = Errc::bad_file) const;

 private:
  const Json* object_;
  std::string file_;
  std::string prefix_;
};

/// A JSON value as an error shows it: short, whatever it is.
std::string describe(const Json& value);

/// Reads a file that must hold one JSON object; errors name the file. Of a key that stands twice the last one counts
/// unless `limits` say otherwise.
Result<Json> read_json_object(const std::string& path, std::uint64_t max_bytes,
                              JsonLimits limits = {.max_depth = 128, .unique_keys = false});

}  // namespace halyard
