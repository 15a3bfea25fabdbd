// Tokens that are found in the text as they stand, before the model sees it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/text/normalizer.h"
#include "halyard/text/regex.h"
#include "halyard/text/tokenizer_config.h"
#include "halyard/text/vocabulary.h"

namespace halyard::text {

struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false;
  bool normalized = false;   // looked for in the normalised text, its content normalised too
  bool single_word = false;  // not where a word character stands directly before or after
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  std::string file;          // that names it; empty: tokenizer.json
};

/// A stretch of text, or the added token that was found there.
struct Segment {
  Span span;
  std::optional<std::int32_t> id;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// From the field `added_tokens`. As the tokenizers library does, a token has its id in the vocabulary, or the next one
  /// past the vocabulary's count: the ids in the file follow the same rule and are only checked to be ids.
  /// `more` are added after them; of two with the same content the later one's properties count. `name`: that of
  /// tokenizer.json, for errors; those of `more` name their own file.
  static Result<AddedTokens> make(const Json&, const std::vector<ForeignToken>& more, const Vocabulary&,
                                  const Normalizer&, const std::string& name);

  /// Cuts a text at the tokens that are looked for before (`normalized` false) or after normalisation.
  /// Without `special`, special ones are not looked for.
  std::vector<Segment> split(std::string_view text, bool normalized, bool special) const;

  const AddedToken* find(std::string_view content) const;
  const AddedToken* find(std::int32_t id) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  // Finds the longest of a set of strings that a text goes on with.
  class Trie {
   public:
    /// The first of two equal strings counts, an empty one never.
    void add(std::string_view content, std::uint32_t token);
    struct Match {
      std::uint32_t token;
      std::size_t length;
    };
    std::optional<Match> longest(std::string_view text) const;

   private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    std::uint32_t step(std::uint32_t node, char byte) const;
    std::array<std::uint32_t, 256> roots_ = filled();
    std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // node << 8 | byte -> node
    std::vector<std::uint32_t> token_at_;                     // by node; none: no string ends there
    static std::array<std::uint32_t, 256> filled() {
      std::array<std::uint32_t, 256> a;
      a.fill(none);
      return a;
    }
  };

  Result<void> add(const Json& entry, const std::string& file, const Vocabulary&);

  std::vector<AddedToken> tokens_;
  std::int32_t highest_id_ = -1;
  std::map<std::string, std::uint32_t, std::less<>> by_content_;  // index in tokens_
  std::unordered_map<std::int32_t, std::uint32_t, SeededHash> by_id_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace halyard::text
