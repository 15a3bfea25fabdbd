#include "halyard/io/config.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "halyard/base/file.h"

namespace halyard {
namespace {

std::string got(const Json* value) { return value ? "got " + describe(*value) : "but the field is absent"; }

bool integer_in(const Json& v, std::int64_t min, std::int64_t max, std::int64_t& out) {
  if (v.type() != Json::Type::integer) return false;
  out = v.get<std::int64_t>();
  return out >= min && out <= max;
}

std::string integer_expected(std::int64_t min, std::int64_t max) {
  if (max == std::numeric_limits<std::int64_t>::max()) return fmt::format("an integer of at least {}", min);
  return fmt::format("an integer from {} to {}", min, max);
}

// Python's json writes infinities as a bare word, which is not JSON; transformers writes them as {"__float__": word}.
bool infinity(const Json& v, double& out) {
  if (v.is_object()) {
    const Json& word = v["__float__"];
    return v.size() == 1 && word.is_string() && infinity(word, out);
  }
  if (v.is_real()) {
    out = v.get<double>();
    return std::isinf(out);
  }
  if (!v.is_string()) return false;
  const std::string_view word = v.text();
  if (word != "Infinity" && word != "-Infinity") return false;
  out = word[0] == '-' ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  return true;
}

bool number_allowed(const Json& v, const NumberRule& rule, double& out) {
  if (rule.non_finite && infinity(v, out)) return true;
  if (!v.is_number()) return false;
  out = v.get<double>();
  return std::isfinite(out) && out <= rule.max && (rule.above_min ? out > rule.min : out >= rule.min);
}

std::string number_expected(const NumberRule& rule) {
  std::string text = "a number";
  const bool has_min = rule.min > std::numeric_limits<double>::lowest();
  if (has_min) text += fmt::format(" {} {}", rule.above_min ? "above" : "of at least", rule.min);
  if (rule.max < std::numeric_limits<double>::max())
    text += fmt::format("{}at most {}", has_min ? " and " : " of ", rule.max);
  if (rule.non_finite) text += ", or \"Infinity\"";
  return text;
}

// Python's json takes the bare words NaN, Infinity and -Infinity for numbers. They become the object that transformers
// writes in their place; settle_floats() makes numbers of both.
std::string without_bare_words(std::string_view text) {
  constexpr std::string_view words[] = {"NaN", "Infinity", "-Infinity"};
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size();) {
    const auto* word = quoted ? std::end(words) : std::find_if(std::begin(words), std::end(words), [&](auto w) {
      return text.substr(i).starts_with(w);
    });
    if (word != std::end(words)) {
      out += fmt::format("{{\"__float__\":\"{}\"}}", *word);
      i += word->size();
      continue;
    }
    if (quoted && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    else if (text[i] == '"') quoted = !quoted;
    out += text[i++];
  }
  return out;
}

void settle_floats(Json& value) {
  double x = 0;
  if (value.is_object() && value.size() == 1) {
    if (infinity(value, x)) value = x;
    else if (std::as_const(value)["__float__"] == "NaN") value = std::numeric_limits<double>::quiet_NaN();
  }
  for (Json& inner : value) settle_floats(inner);
  for (const auto& [key, inner] : value.items()) settle_floats(inner);
}

// Reads each element of a list with `read(element, out)`.
template <class T, class Read>
Result<std::vector<T>> list(const ConfigView& view, std::string_view field, std::string_view expected, Read read) {
  const Json* v = view.raw(field);
  if (!v || !v->is_array()) return view.error(field, fmt::format("expected a list, each {}, {}", expected, got(v)));
  std::vector<T> out;
  out.reserve(v->size());
  for (const Json& element : *v) {
    T x{};
    if (!read(element, x))
      return view.error(fmt::format("{}[{}]", field, out.size()),
                        fmt::format("expected {}, {}", expected, got(&element)));
    out.push_back(std::move(x));
  }
  return out;
}

}  // namespace

std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::Type::string: return in_quotes(value.text(), 80);
    case Json::Type::array:
      if (value.size() > 8) return fmt::format("a list of {}", value.size());
      for (const Json& element : value)
        if (!element.is_number()) return fmt::format("a list of {}", value.size());
      return value.dump();  // a few numbers
    case Json::Type::object: return value.empty() ? "an empty object" : "an object";
    case Json::Type::real:
      if (const auto x = value.get<double>(); !std::isfinite(x))
        return std::isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity";
      [[fallthrough]];
    default: return value.dump();  // a number, true, false or null
  }
}

const Json* ConfigView::raw(std::string_view field) const {
  const Json& value = (*object_)[field];
  return value.is_null() ? nullptr : &value;
}

tl::unexpected<Error> ConfigView::error(std::string_view field, std::string_view what, Errc code) const {
  return fail(code, fmt::format("{}: {}{}: {}", file_, prefix_, printable(field, 200), what));
}

Result<std::int64_t> ConfigView::integer(std::string_view field, std::int64_t min, std::int64_t max) const {
  const Json* v = raw(field);
  std::int64_t out = 0;
  if (v && integer_in(*v, min, max, out)) return out;
  return error(field, fmt::format("expected {}, {}", integer_expected(min, max), got(v)));
}

Result<double> ConfigView::number(std::string_view field, NumberRule rule) const {
  const Json* v = raw(field);
  double out = 0;
  if (v && number_allowed(*v, rule, out)) return out;
  return error(field, fmt::format("expected {}, {}", number_expected(rule), got(v)));
}

Result<bool> ConfigView::boolean(std::string_view field) const {
  const Json* v = raw(field);
  if (v && v->is_boolean()) return v->get<bool>();
  return error(field, fmt::format("expected true or false, {}", got(v)));
}

Result<std::string> ConfigView::string(std::string_view field) const {
  const Json* v = raw(field);
  if (v && v->is_string()) return v->get<std::string>();
  return error(field, fmt::format("expected a string, {}", got(v)));
}

Result<ConfigView> ConfigView::object(std::string_view field) const {
  const Json* v = raw(field);
  if (v && v->is_object()) return ConfigView(*v, file_, fmt::format("{}{}.", prefix_, field));
  return error(field, fmt::format("expected an object, {}", got(v)));
}

Result<std::int64_t> ConfigView::integer_or(std::string_view field, std::int64_t absent, std::int64_t min,
                                            std::int64_t max) const {
  return has(field) ? integer(field, min, max) : absent;
}
Result<double> ConfigView::number_or(std::string_view field, double absent, NumberRule rule) const {
  return has(field) ? number(field, rule) : absent;
}
Result<bool> ConfigView::boolean_or(std::string_view field, bool absent) const {
  return has(field) ? boolean(field) : absent;
}
Result<std::string> ConfigView::string_or(std::string_view field, std::string absent) const {
  return has(field) ? string(field) : absent;
}

Result<std::vector<std::int64_t>> ConfigView::integers(std::string_view field, std::int64_t min,
                                                       std::int64_t max) const {
  return list<std::int64_t>(*this, field, integer_expected(min, max),
                            [&](const Json& v, std::int64_t& out) { return integer_in(v, min, max, out); });
}
Result<std::vector<double>> ConfigView::numbers(std::string_view field, NumberRule rule) const {
  return list<double>(*this, field, number_expected(rule),
                      [&](const Json& v, double& out) { return number_allowed(v, rule, out); });
}
Result<std::vector<bool>> ConfigView::booleans(std::string_view field) const {
  return list<bool>(*this, field, "true or false", [](const Json& v, bool& out) {
    if (v.is_boolean()) out = v.get<bool>();
    return v.is_boolean();
  });
}
Result<std::vector<std::string>> ConfigView::strings(std::string_view field) const {
  return list<std::string>(*this, field, "a string", [](const Json& v, std::string& out) {
    if (v.is_string()) out = v.get<std::string>();
    return v.is_string();
  });
}

Result<Json> read_json_object(const std::string& path, std::uint64_t max_bytes, JsonLimits limits) {
  const std::string text = HALYARD_TRY(read_file(path, max_bytes));
  HALYARD_TRY(refuse_lfs_pointer(text, path));
  const bool words = text.find("NaN") != text.npos || text.find("Infinity") != text.npos;
  auto json = parse_json(words ? without_bare_words(text) : text, limits);
  if (!json) return fail(std::move(json).error(), path);
  if (words) settle_floats(*json);
  if (!json->is_object())
    return fail(Errc::bad_file, fmt::format("{}: expected a JSON object, got {}", path, describe(*json)));
  return json;
}

}  // namespace halyard
