#include "halyard/text/decoder.h"

#include <optional>
#include <string_view>
#include <utility>

#include "halyard/text/json_fields.h"
#include "halyard/text/normalizer.h"
#include "halyard/text/regex.h"
#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";  // U+FFFD

// Moves out of `bytes` what is decided: characters, and U+FFFD for each maximal ill-formed part. A cut character stays.
std::string take_characters(std::string& bytes) {
  std::string out;
  std::size_t pos = 0;
  while (pos < bytes.size()) {
    const Utf8Step step = utf8_step(bytes, pos);
    if (step.kind == Utf8Step::cut) break;
    if (step.kind == Utf8Step::whole) out.append(bytes, pos, step.length);
    else out += replacement;
    pos += step.length;
  }
  bytes.erase(0, pos);
  return out;
}

// Stand-ins back to bytes; a token with any other character is taken as it is.
class ByteLevel : public DecodeStep {
 public:
  Result<void> add(std::string token, Texts& out) override {
    const std::size_t before = bytes_.size();
    for (std::size_t pos = 0; pos < token.size();) {
      const int byte = stand_in_to_byte(next_code_point(token, pos));
      if (byte < 0) {
        bytes_.replace(before, bytes_.npos, token);
        break;
      }
      bytes_ += static_cast<char>(byte);
    }
    out.push_back(take_characters(bytes_));
    return {};
  }
  Result<void> finish(Texts& out) override {
    if (!bytes_.empty()) out.emplace_back(replacement);
    bytes_.clear();
    return {};
  }

 private:
  std::string bytes_;  // the start of a character
};

// "<0xE4>" and the like become the text that a run of them spells, or as many U+FFFD where it is not UTF-8.
class ByteFallback : public DecodeStep {
 public:
  Result<void> add(std::string token, Texts& out) override {
    if (const auto byte = byte_of(token)) {
      run_ += *byte;
      return {};
    }
    end_run(out);
    out.push_back(std::move(token));
    return {};
  }
  Result<void> finish(Texts& out) override {
    end_run(out);
    return {};
  }

 private:
  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    int value = 0;
    for (const char c : token.substr(3, 2)) {
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                               : -1;
      if (digit < 0) return std::nullopt;
      value = value * 16 + digit;
    }
    return static_cast<char>(value);
  }
  void end_run(Texts& out) {
    if (run_.empty()) return;
    if (is_utf8(run_)) out.push_back(std::move(run_));
    else out.insert(out.end(), run_.size(), std::string(replacement));
    run_.clear();
  }

  std::string run_;
};

class Replace : public DecodeStep {
 public:
  Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Result<void> add(std::string token, Texts& out) override {
    out.push_back(HALYARD_TRY(replace_all(pattern_, token, content_, growth_limit(token.size()))));
    return {};
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// Takes up to `start` leading and up to `stop` trailing `cut` characters off: of each token, or of the whole text.
class Strip : public DecodeStep {
 public:
  Strip(std::string cut, std::size_t start, std::size_t stop, bool whole)
      : cut_(std::move(cut)), start_(start), stop_(stop), whole_(whole), leading_(start) {}
  Result<void> add(std::string token, Texts& out) override {
    std::string_view rest = token;
    while (leading_ > 0 && rest.starts_with(cut_)) {
      rest.remove_prefix(cut_.size());
      --leading_;
    }
    if (!rest.empty()) leading_ = 0;
    held_ += rest;
    release(out);
    if (!whole_) {
      held_.clear();
      leading_ = start_;
    }
    return {};
  }

 private:
  // All but the last `stop` cut characters at the end.
  void release(Texts& out) {
    std::size_t end = held_.size();
    for (std::size_t n = 0; n < stop_ && std::string_view(held_).substr(0, end).ends_with(cut_); ++n)
      end -= cut_.size();
    out.push_back(held_.substr(0, end));
    held_.erase(0, end);
  }

  std::string cut_;  // one character
  std::size_t start_;
  std::size_t stop_;
  bool whole_;
  std::size_t leading_;  // how many may still be taken off
  std::string held_;     // what may turn out to be the end
};

// Gives the step below the whole text as one token, at the end: for what cannot work on parts of one.
class Gather : public DecodeStep {
 public:
  explicit Gather(std::unique_ptr<DecodeStep> step) : step_(std::move(step)) {}
  Result<void> add(std::string token, Texts&) override {
    text_ += token;
    return {};
  }
  Result<void> finish(Texts& out) override {
    HALYARD_TRY(step_->add(std::move(text_), out));
    return step_->finish(out);
  }

 private:
  std::unique_ptr<DecodeStep> step_;
  std::string text_;
};

class JoinWithSpaces : public DecodeStep {
 public:
  Result<void> add(std::string token, Texts& out) override {
    out.push_back(first_ ? std::move(token) : " " + token);
    first_ = false;
    return {};
  }

 private:
  bool first_ = true;
};

// A decoder being put together.
struct Draft {
  Decoder steps;
  bool fused = false;  // the tokens so far are one: a step that goes by tokens sees the whole text

  // A step that works on whole tokens.
  template <class Make> void add(Make make) {
    if (!fused) steps.emplace_back(make);
    else steps.emplace_back([make]() -> std::unique_ptr<DecodeStep> { return std::make_unique<Gather>(make()); });
  }
};

Result<void> add_decoder(const Json&, Draft&);

Result<void> add_byte_level(const Json&, Draft& draft) {
  draft.add([] { return std::make_unique<ByteLevel>(); });
  draft.fused = true;
  return {};
}

Result<void> add_byte_fallback(const Json&, Draft& draft) {
  draft.add([] { return std::make_unique<ByteFallback>(); });
  return {};
}

Result<void> add_fuse(const Json&, Draft& draft) {
  draft.fused = true;
  return {};
}

Result<void> add_replace(const Json& json, Draft& draft) {
  auto pattern = HALYARD_TRY(pattern_field(json));
  auto content = HALYARD_TRY(string_field(json, "content"));
  draft.add([pattern, content] { return std::make_unique<Replace>(pattern, content); });
  return {};
}

Result<void> add_strip(const Json& json, Draft& draft) {
  const auto cut = HALYARD_TRY(string_field(json, "content"));
  std::size_t end = 0;
  if (!cut.empty()) next_code_point(cut, end);
  if (cut.empty() || end != cut.size())
    return fail(Errc::bad_file, "\"content\" of the Strip decoder: expected one character");
  const auto count = [&](std::string_view key) -> Result<std::size_t> {
    return static_cast<std::size_t>(
        HALYARD_TRY(token_id(field(json, key), fmt::format("\"{}\" of the Strip decoder", key))));
  };
  const std::size_t start = HALYARD_TRY(count("start"));
  const std::size_t stop = HALYARD_TRY(count("stop"));
  draft.steps.emplace_back([=, whole = draft.fused]() { return std::make_unique<Strip>(cut, start, stop, whole); });
  return {};
}

Result<void> add_sequence(const Json& json, Draft& draft) {
  const Json& parts = field(json, "decoders");
  if (!parts.is_array()) return wrong_field("decoders", "an array", parts);
  for (const Json& part : parts) HALYARD_TRY(add_decoder(part, draft));
  return {};
}

using Add = Result<void> (*)(const Json&, Draft&);
constexpr std::pair<std::string_view, Add> kinds[] = {
    {"ByteLevel", add_byte_level}, {"ByteFallback", add_byte_fallback}, {"Fuse", add_fuse}, {"Replace", add_replace},
    {"Strip", add_strip},          {"Sequence", add_sequence},
};

Result<void> add_decoder(const Json& json, Draft& draft) {
  const auto type = HALYARD_TRY(string_field(json, "type"));
  for (const auto& [name, add] : kinds)
    if (name == type) return add(json, draft);
  return fail(Errc::unsupported, fmt::format("there is no decoder {}", in_quotes(type)));
}

}  // namespace

Result<Decoder> make_decoder(const Json& json) {
  Draft draft;
  if (json.is_null()) draft.add([] { return std::make_unique<JoinWithSpaces>(); });
  else HALYARD_TRY(add_decoder(json, draft));
  return std::move(draft.steps);
}

Decoding::Decoding(const Decoder& decoder) {
  for (const auto& start : decoder) steps_.push_back(start());
}

namespace {

std::string joined(const Texts& texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}

// Chained Replace steps must not multiply what one token becomes.
constexpr std::size_t max_token_text = std::size_t{1} << 20;

Result<Texts> pass(DecodeStep& step, Texts in) {
  Texts out;
  std::size_t before = 0;
  std::size_t after = 0;
  for (std::string& token : in) {
    before += token.size();
    HALYARD_TRY(step.add(std::move(token), out));
  }
  for (const std::string& text : out) after += text.size();
  if (after > before && after > max_token_text)
    return fail(Errc::limit_exceeded, fmt::format("the decoder grows a token past {} bytes", max_token_text));
  return out;
}

}  // namespace

Result<std::string> Decoding::add(std::string token) {
  Texts texts;
  texts.push_back(std::move(token));
  for (const auto& step : steps_) texts = HALYARD_TRY(pass(*step, std::move(texts)));
  return joined(texts);
}

Result<std::string> Decoding::finish() {
  Texts texts;
  for (const auto& step : steps_) {
    texts = HALYARD_TRY(pass(*step, std::move(texts)));
    HALYARD_TRY(step->finish(texts));
  }
  return joined(texts);
}

}  // namespace halyard::text
