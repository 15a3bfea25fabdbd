#include "halyard/text/pretokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "halyard/text/json_fields.h"
#include "halyard/text/normalizer.h"
#include "halyard/text/regex.h"
#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

// A stretch of a piece; `match` where the pattern matched.
struct Part {
  Span span;
  bool match = false;
};
using FindParts = std::function<Result<std::vector<Part>>(std::string_view)>;

// The matches and what lies between them.
Result<std::vector<Part>> parts_of(const Pattern& pattern, std::string_view text) {
  std::vector<Part> parts;
  std::size_t done = 0;
  for (const Span& match : HALYARD_TRY(pattern.find_all(text))) {
    if (done != match.begin) parts.push_back({{done, match.begin}, false});
    parts.push_back({match, true});
    done = match.end;
  }
  if (done != text.size()) parts.push_back({{done, text.size()}, false});
  return parts;
}

// Each character of the class is a match of its own.
std::vector<Part> parts_of(bool (*in_class)(CodePoint), std::string_view text) {
  std::vector<Part> parts;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const bool match = in_class(next_code_point(text, pos));
    if (!match && !parts.empty() && !parts.back().match) parts.back().span.end = pos;
    else parts.push_back({{begin, pos}, match});
  }
  return parts;
}

// What becomes of the parts, as the tokenizers library defines each behaviour.
std::vector<Span> arrange(std::vector<Part> parts, Behavior behavior) {
  std::vector<Span> out;
  bool previous = false;
  const auto join_if = [&](bool join, const Span& span) {
    if (join && !out.empty()) {
      out.back().begin = std::min(out.back().begin, span.begin);
      out.back().end = std::max(out.back().end, span.end);
    } else {
      out.push_back(span);
    }
  };
  if (behavior == Behavior::merged_with_next) std::reverse(parts.begin(), parts.end());
  for (const Part& part : parts) {
    switch (behavior) {
      case Behavior::isolated: out.push_back(part.span); break;
      case Behavior::removed:
        if (!part.match) out.push_back(part.span);
        break;
      case Behavior::contiguous: join_if(part.match == previous, part.span); break;
      case Behavior::merged_with_previous:
      case Behavior::merged_with_next: join_if(part.match && !previous, part.span); break;
    }
    previous = part.match;
  }
  if (behavior == Behavior::merged_with_next) std::reverse(out.begin(), out.end());
  return out;
}

PreTokenizer splitter(FindParts find, Behavior behavior, bool invert = false) {
  return [=, find = std::move(find)](std::vector<Piece> pieces, std::size_t) -> Result<std::vector<Piece>> {
    std::vector<Piece> out;
    out.reserve(pieces.size());
    for (const Piece& piece : pieces) {
      auto parts = HALYARD_TRY(find(piece.text));
      if (invert)
        for (Part& part : parts) part.match = !part.match;
      for (const Span& span : arrange(std::move(parts), behavior))
        if (span.begin < span.end)
          out.push_back({piece.text.substr(span.begin, span.end - span.begin), piece.first && span.begin == 0});
    }
    return out;
  };
}

PreTokenizer splitter(const Pattern& pattern, Behavior behavior, bool invert = false) {
  return splitter([pattern](std::string_view text) { return parts_of(pattern, text); }, behavior, invert);
}

PreTokenizer splitter(bool (*in_class)(CodePoint), Behavior behavior) {
  return splitter([in_class](std::string_view text) -> Result<std::vector<Part>> { return parts_of(in_class, text); },
                  behavior);
}

Result<Behavior> behavior_field(const Json& json, std::optional<Behavior> otherwise = {}) {
  if (otherwise && field(json, "behavior").is_null()) return *otherwise;
  constexpr std::pair<std::string_view, Behavior> names[] = {
      {"Isolated", Behavior::isolated},
      {"Removed", Behavior::removed},
      {"MergedWithPrevious", Behavior::merged_with_previous},
      {"MergedWithNext", Behavior::merged_with_next},
      {"Contiguous", Behavior::contiguous},
  };
  const auto behavior = HALYARD_TRY(string_field(json, "behavior"));
  for (const auto& [name, value] : names)
    if (name == behavior) return value;
  return fail(Errc::bad_file, fmt::format("there is no split behavior {}", in_quotes(behavior)));
}

Result<PreTokenizer> make_split(const Json& json) {
  const auto pattern = HALYARD_TRY(pattern_field(json));
  const Behavior behavior = HALYARD_TRY(behavior_field(json));
  return splitter(pattern, behavior, HALYARD_TRY(bool_field(json, "invert", false)));
}

Result<PreTokenizer> make_digits(const Json& json) {
  const bool each = HALYARD_TRY(bool_field(json, "individual_digits", false));
  return splitter(is_numeric, each ? Behavior::isolated : Behavior::contiguous);
}

Result<PreTokenizer> make_punctuation(const Json& json) {
  return splitter(is_punctuation, HALYARD_TRY(behavior_field(json, Behavior::isolated)));
}

Result<PreTokenizer> make_whitespace_split(const Json&) { return splitter(is_white_space, Behavior::removed); }

// \w+|[^\w\s]+ : runs of word characters, runs of other visible characters.
Result<PreTokenizer> make_whitespace(const Json&) {
  const auto class_of = [](CodePoint c) { return is_word(c) ? 0 : is_white_space(c) ? 1 : 2; };
  return splitter(
      [class_of](std::string_view text) -> Result<std::vector<Part>> {
        std::vector<Part> parts;
        int previous = -1;
        for (std::size_t pos = 0; pos < text.size();) {
          const std::size_t begin = pos;
          const int kind = class_of(next_code_point(text, pos));
          if (kind == previous) parts.back().span.end = pos;
          else parts.push_back({{begin, pos}, kind == 1});
          previous = kind;
        }
        return parts;
      },
      Behavior::removed);
}

// GPT-2's words, then each byte as its stand-in.
Result<PreTokenizer> make_byte_level(const Json& json) {
  constexpr std::string_view words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  const bool add_space = HALYARD_TRY(bool_field(json, "add_prefix_space", true));
  const bool split = HALYARD_TRY(bool_field(json, "use_regex", true));
  const auto cut = splitter(HALYARD_TRY(Pattern::regex(words)), Behavior::isolated);
  return [=](std::vector<Piece> pieces, std::size_t limit) -> Result<std::vector<Piece>> {
    if (add_space)
      for (Piece& piece : pieces)
        if (!piece.text.starts_with(' ')) piece.text.insert(0, 1, ' ');
    if (split) pieces = HALYARD_TRY(cut(std::move(pieces), limit));
    for (Piece& piece : pieces) piece.text = bytes_to_stand_ins(piece.text);
    return pieces;
  };
}

Result<PreTokenizer> make_sequence(const Json& json) {
  const Json& parts = field(json, "pretokenizers");
  if (!parts.is_array()) return wrong_field("pretokenizers", "an array", parts);
  std::vector<PreTokenizer> steps;
  for (const Json& part : parts) steps.push_back(HALYARD_TRY(make_pre_tokenizer(part)));
  return [steps = std::move(steps)](std::vector<Piece> pieces, std::size_t limit) -> Result<std::vector<Piece>> {
    for (const PreTokenizer& step : steps) {
      pieces = HALYARD_TRY(step(std::move(pieces), limit));
      std::size_t size = 0;
      for (const Piece& piece : pieces) size += piece.text.size();
      if (size > limit)
        return fail(Errc::limit_exceeded, fmt::format("the pre_tokenizer grows the text past {} bytes", limit));
    }
    return pieces;
  };
}

using Make = Result<PreTokenizer> (*)(const Json&);
constexpr std::pair<std::string_view, Make> kinds[] = {
    {"Split", make_split},           {"ByteLevel", make_byte_level},
    {"Digits", make_digits},         {"Punctuation", make_punctuation},
    {"Whitespace", make_whitespace}, {"WhitespaceSplit", make_whitespace_split},
    {"Sequence", make_sequence},
};

}  // namespace

Result<PreTokenizer> make_pre_tokenizer(const Json& json) {
  if (json.is_null())
    return [](std::vector<Piece> pieces, std::size_t) -> Result<std::vector<Piece>> { return pieces; };
  const auto type = HALYARD_TRY(string_field(json, "type"));
  for (const auto& [name, make] : kinds)
    if (name == type) return make(json);
  return fail(Errc::unsupported, fmt::format("there is no pre_tokenizer {}", in_quotes(type)));
}

}  // namespace halyard::text
