#include "halyard/text/added_tokens.h"

#include <algorithm>

#include "halyard/text/json_fields.h"
#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

// Bounds what searching costs at each place of a text.
constexpr std::size_t max_content_bytes = 1024;
// Of all that is searched for: a byte of it takes some 50 of memory.
constexpr std::size_t max_total_bytes = std::size_t{2} << 20;

Result<AddedToken> read_token(const Json& json) {
  AddedToken token;
  token.content = HALYARD_TRY(string_field(json, "content"));
  token.id = HALYARD_TRY(token_id(
      field(json, "id"), fmt::format("added_tokens: the id of {} in the vocab", in_quotes(token.content, 100))));
  token.special = HALYARD_TRY(bool_field(json, "special", false));
  token.normalized = HALYARD_TRY(bool_field(json, "normalized", !token.special));
  token.single_word = HALYARD_TRY(bool_field(json, "single_word", false));
  token.lstrip = HALYARD_TRY(bool_field(json, "lstrip", false));
  token.rstrip = HALYARD_TRY(bool_field(json, "rstrip", false));
  if (token.content.size() > max_content_bytes)
    return fail(Errc::limit_exceeded,
                fmt::format("added_tokens: the token {} has {} bytes, the limit is {}", in_quotes(token.content, 20),
                            token.content.size(), max_content_bytes));
  return token;
}

bool stands_alone(std::string_view text, const Span& span) {
  std::size_t before = span.begin;
  std::size_t after = span.end;
  return (before == 0 || !is_word(previous_code_point(text, before))) &&
         (after == text.size() || !is_word(next_code_point(text, after)));
}

std::size_t white_space_start(std::string_view text, std::size_t pos, std::size_t least) {
  while (pos > least) {
    std::size_t before = pos;
    if (!is_white_space(previous_code_point(text, before))) break;
    pos = before;
  }
  return std::max(pos, least);
}

std::size_t white_space_end(std::string_view text, std::size_t pos) {
  while (pos < text.size()) {
    std::size_t after = pos;
    if (!is_white_space(next_code_point(text, after))) break;
    pos = after;
  }
  return pos;
}

}  // namespace

void AddedTokens::Trie::add(std::string_view content, std::uint32_t token) {
  std::uint32_t node = none;
  for (const char c : content) {
    const auto byte = static_cast<std::uint8_t>(c);
    const auto fresh = static_cast<std::uint32_t>(token_at_.size());
    std::uint32_t& next =
        node == none ? roots_[byte] : edges_.try_emplace(std::uint64_t{node} << 8 | byte, none).first->second;
    if (next == none) {
      next = fresh;
      token_at_.push_back(none);
    }
    node = next;
  }
  if (node != none && token_at_[node] == none) token_at_[node] = token;
}

std::uint32_t AddedTokens::Trie::step(std::uint32_t node, char c) const {
  const auto it = edges_.find(std::uint64_t{node} << 8 | static_cast<std::uint8_t>(c));
  return it == edges_.end() ? none : it->second;
}

std::optional<AddedTokens::Trie::Match> AddedTokens::Trie::longest(std::string_view text) const {
  std::optional<Match> best;
  std::uint32_t node = roots_[static_cast<std::uint8_t>(text[0])];
  for (std::size_t length = 1; node != none; ++length) {
    if (token_at_[node] != none) best = Match{token_at_[node], length};
    if (length == text.size()) break;
    node = step(node, text[length]);
  }
  return best;
}

Result<AddedTokens> AddedTokens::make(const Json& json, const std::vector<ForeignToken>& more,
                                      const Vocabulary& vocabulary, const Normalizer& normalizer,
                                      const std::string& name) {
  AddedTokens added;
  if (!json.is_null() && !json.is_array()) return fail(wrong_field("added_tokens", "an array", json).value(), name);
  for (const Json& entry : json)
    if (auto done = added.add(entry, "", vocabulary); !done) return fail(std::move(done).error(), name);
  for (const auto& [entry, file] : more)
    if (auto done = added.add(entry, file, vocabulary); !done) return fail(std::move(done).error(), file);
  std::size_t total = 0;
  for (std::uint32_t index = 0; index < added.tokens_.size(); ++index) {
    const AddedToken& token = added.tokens_[index];
    const std::string& file = token.file.empty() ? name : token.file;
    auto sought = token.normalized ? normalizer(token.content, growth_limit(token.content.size()))
                                   : Result<std::string>(token.content);
    if (!sought) return fail(std::move(sought).error(), file);
    total += sought->size();
    if (sought->size() > 16 * max_content_bytes || total > max_total_bytes)
      return fail(Errc::limit_exceeded,
                  fmt::format("{}: added_tokens: with {} there are more than {} bytes to search for", file,
                              in_quotes(token.content, 20), max_total_bytes));
    (token.normalized ? added.normalized_ : added.raw_).add(*sought, index);
  }
  return added;
}

Result<void> AddedTokens::add(const Json& entry, const std::string& file, const Vocabulary& vocabulary) {
  AddedToken token = HALYARD_TRY(read_token(entry));
  token.file = file;
  if (token.content.empty()) return {};
  if (const auto it = by_content_.find(token.content); it != by_content_.end()) {
    AddedToken& before = tokens_[it->second];
    token.id = before.id;
    token.file = before.file;
    token.special = token.special || before.special;  // what has been special stays it
    before = std::move(token);
    return {};
  }
  const auto known = vocabulary.find(token.content);
  token.id = known ? *known : std::max(highest_id_ + 1, static_cast<std::int32_t>(vocabulary.size()));
  highest_id_ = std::max(highest_id_, token.id);
  const auto index = static_cast<std::uint32_t>(tokens_.size());
  by_content_.emplace(token.content, index);
  by_id_[token.id] = index;
  tokens_.push_back(std::move(token));
  return {};
}

std::vector<Segment> AddedTokens::split(std::string_view text, bool normalized, bool special) const {
  const Trie& trie = normalized ? normalized_ : raw_;
  std::vector<Segment> segments;
  std::size_t done = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const auto match = trie.longest(text.substr(pos));
    if (!match) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[match->token];
    Span span{pos, pos + match->length};
    pos = span.end;  // the search goes on here even where the token takes more
    if (token.special && !special) continue;
    if (token.single_word && !stands_alone(text, span)) continue;
    if (token.lstrip) span.begin = white_space_start(text, span.begin, done);
    if (token.rstrip) span.end = white_space_end(text, span.end);
    if (done < span.begin) segments.push_back({{done, span.begin}, std::nullopt});
    segments.push_back({span, token.id});
    done = span.end;
  }
  if (done < text.size()) segments.push_back({{done, text.size()}, std::nullopt});
  return segments;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

}  // namespace halyard::text
