#include "halyard/text/normalizer.h"

#include <array>
#include <utility>
#include <vector>

#include "halyard/text/json_fields.h"
#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

template <NormalForm form> Result<Normalizer> make_normal_form(const Json&) {
  return [](std::string text, std::size_t) -> Result<std::string> { return normalize(text, form); };
}

Result<Normalizer> make_lowercase(const Json&) {
  return [](std::string text, std::size_t) -> Result<std::string> { return lowercase(text); };
}

Result<Normalizer> make_strip_accents(const Json&) {
  return [](std::string text, std::size_t) -> Result<std::string> { return strip_marks(text); };
}

Result<Normalizer> make_byte_level(const Json&) {
  return [](std::string text, std::size_t) -> Result<std::string> { return bytes_to_stand_ins(text); };
}

Result<Normalizer> make_strip(const Json& json) {
  const bool left = HALYARD_TRY(bool_field(json, "strip_left", true));
  const bool right = HALYARD_TRY(bool_field(json, "strip_right", true));
  return [=](std::string text, std::size_t) -> Result<std::string> {
    std::size_t begin = 0;
    std::size_t end = text.size();
    for (std::size_t pos = 0; left && begin < end && is_white_space(next_code_point(text, pos));) begin = pos;
    for (std::size_t pos = end; right && begin < end && is_white_space(previous_code_point(text, pos));) end = pos;
    return text.substr(begin, end - begin);
  };
}

Result<Normalizer> make_prepend(const Json& json) {
  return [prefix = HALYARD_TRY(string_field(json, "prepend"))](std::string text, std::size_t) -> Result<std::string> {
    return text.empty() ? text : prefix + text;
  };
}

Result<Normalizer> make_replace(const Json& json) {
  auto pattern = HALYARD_TRY(pattern_field(json));
  auto content = HALYARD_TRY(string_field(json, "content"));
  return [pattern = std::move(pattern), content = std::move(content)](const std::string& text, std::size_t limit) {
    return replace_all(pattern, text, content, limit);
  };
}

Result<Normalizer> make_sequence(const Json& json) {
  const Json& parts = field(json, "normalizers");
  if (!parts.is_array()) return wrong_field("normalizers", "an array", parts);
  std::vector<Normalizer> steps;
  for (const Json& part : parts) steps.push_back(HALYARD_TRY(make_normalizer(part)));
  return [steps = std::move(steps)](std::string text, std::size_t limit) -> Result<std::string> {
    for (const Normalizer& step : steps) {
      text = HALYARD_TRY(step(std::move(text), limit));
      if (text.size() > limit)
        return fail(Errc::limit_exceeded, fmt::format("the normalizer grows the text past {} bytes", limit));
    }
    return text;
  };
}

using Make = Result<Normalizer> (*)(const Json&);
constexpr std::pair<std::string_view, Make> kinds[] = {
    {"NFC", make_normal_form<NormalForm::nfc>},
    {"NFD", make_normal_form<NormalForm::nfd>},
    {"NFKC", make_normal_form<NormalForm::nfkc>},
    {"NFKD", make_normal_form<NormalForm::nfkd>},
    {"Lowercase", make_lowercase},
    {"StripAccents", make_strip_accents},
    {"Strip", make_strip},
    {"Prepend", make_prepend},
    {"Replace", make_replace},
    {"ByteLevel", make_byte_level},
    {"Sequence", make_sequence},
};

}  // namespace

Result<Normalizer> make_normalizer(const Json& json) {
  if (json.is_null()) return [](std::string text, std::size_t) -> Result<std::string> { return text; };
  const auto type = HALYARD_TRY(string_field(json, "type"));
  for (const auto& [name, make] : kinds)
    if (name == type) return make(json);
  return fail(Errc::unsupported, fmt::format("there is no normalizer {}", in_quotes(type)));
}

Result<Pattern> pattern_field(const Json& object) {
  const Json& pattern = field(object, "pattern");
  if (const Json& text = field(pattern, "String"); text.is_string()) return Pattern::literal(text.get<std::string>());
  if (const Json& regex = field(pattern, "Regex"); regex.is_string()) return Pattern::regex(regex.text());
  return wrong_field("pattern", "{\"String\": …} or {\"Regex\": …}", pattern);
}

Result<std::string> replace_all(const Pattern& pattern, const std::string& text, const std::string& content,
                                std::size_t limit) {
  std::string out;
  std::size_t done = 0;
  for (const Span& match : HALYARD_TRY(pattern.find_all(text))) {
    out.append(text, done, match.begin - done).append(content);
    done = match.end;
    if (out.size() > limit)
      return fail(Errc::limit_exceeded,
                  fmt::format("the normalizer's or decoder's Replace grows the text past {} bytes", limit));
  }
  return out.append(text, done);
}

}  // namespace halyard::text
