// Hugging Face's tokenizer.json: text to token ids and back, equal to the `tokenizers` library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/result.h"

namespace halyard {

/// A cheap shared handle to what never changes: const calls may run at once on any number of threads.
class Tokenizer {
 public:
  /// Reads the tokenizer.json at `path`. Every error names the file and what is wrong in it.
  static Result<Tokenizer> load(const std::string& path);
  /// Reads the tokenizer.json of a model folder and what tokenizer_config.json, special_tokens_map.json and
  /// added_tokens.json beside it say of its tokens, with transformers' precedence.
  static Result<Tokenizer> load_folder(const std::string& folder);
  /// The same of a tokenizer.json's content; `name` stands for the path in errors.
  static Result<Tokenizer> parse(std::string_view json, std::string_view name);

  /// The ids of a text of up to 2^30 bytes. With `add_special_tokens`, those that the post-processor sets around it.
  /// Errors: text that is not UTF-8; a normaliser, pre-tokenizer or regex that goes past its limits on this text.
  Result<std::vector<std::int32_t>> encode(std::string_view text, bool add_special_tokens) const;

  /// The text of ids. Ids without a token count for nothing; what is not UTF-8 becomes U+FFFD.
  Result<std::string> decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const;

  /// The highest id + 1, added tokens included.
  std::size_t vocab_size() const;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// The token as it is written in the file: of byte-level tokenizers, stand-ins for bytes.
  std::optional<std::string_view> id_to_token(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  /// The path of the file that the token comes from, for errors.
  std::string file_of(std::int32_t id) const;
  /// The tokens that have a role, "eos_token": "</s>"; of a folder only.
  const std::map<std::string, std::string>& special_tokens() const;

 private:
  friend class StreamDecoder;
  struct Shared;
  explicit Tokenizer(std::shared_ptr<const Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<const Shared> shared_;
};

/// Decodes token by token. What it gives out are whole characters and never changes: all of it together, `finish()`
/// included, is what `Tokenizer::decode` makes of the same ids.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer&, bool skip_special_tokens);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that is certain now and was not before; may be empty.
  std::string add(std::int32_t id);
  /// What is left, U+FFFD for the start of a character. The decoder is at its end then.
  std::string finish();
  /// Why no more text comes, if the decoder failed (a Replace past its limits, no memory): `Tokenizer::decode` fails with the same.
  const std::optional<Error>& error() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace halyard
