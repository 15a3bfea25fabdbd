#include "halyard/text/tokenizer.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/base/guarded.h"
#include "halyard/text/added_tokens.h"
#include "halyard/text/decoder.h"
#include "halyard/text/json_fields.h"
#include "halyard/text/model.h"
#include "halyard/text/normalizer.h"
#include "halyard/text/postprocessor.h"
#include "halyard/text/pretokenizer.h"
#include "halyard/text/tokenizer_config.h"
#include "halyard/text/tokenizer_file.h"
#include "halyard/text/unicode.h"
#include "halyard/text/vocabulary.h"

namespace halyard {

using namespace text;  // NOLINT: its names are this file's words

struct Tokenizer::Shared {
  std::string name;  // the file, for errors
  Vocabulary vocabulary;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<const Model> model;
  PostProcessor post_processor;
  Decoder decoder;
  bool normalizes = false;

  TokenizerConfig config;

  Result<void> read(std::string_view json, const std::string& folder);  // folder: empty where there is none
  Result<void> make_steps(TokenizerFile& file);
  Result<void> encode_segment(std::string_view text, bool first, std::vector<std::int32_t>& ids) const;
  Result<void> encode_normalized(std::string_view text, bool first, std::size_t limit,
                                 std::vector<std::int32_t>& ids) const;
  Result<std::vector<std::int32_t>> encode(std::string_view text) const;
  std::optional<std::string_view> token(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
};

namespace {

constexpr std::size_t max_text = std::size_t{1} << 30;

// Steps of a normalizer, pre_tokenizer, post_processor or decoder, with those of the sequences within it. Each may hold a
// compiled regex, and each takes its time with every text.
constexpr std::size_t max_steps = 256;
std::size_t steps_of(const Json& part) {
  std::size_t steps = 1;
  for (const char* list : {"normalizers", "pretokenizers", "processors", "decoders"})
    if (const Json& parts = field(part, list); parts.is_array())
      for (const Json& inner : parts) steps += steps_of(inner);
  return steps;
}

// The value of a part's Result, or its error with the name of the part.
template <class T> Result<T> in_part(Result<T> result, const std::string& part) {
  if (!result) return fail(std::move(result).error(), part);
  return result;
}

Result<TokenizerFile> read_parts(std::string_view json) {
  TokenizerFile file = HALYARD_TRY(read_tokenizer_file(json));
  if (!file.rest.is_object())
    return fail(Errc::bad_file, fmt::format("expected a JSON object, got {}", file.rest.type_name()));
  const Json& settings = field(file.rest, "model");
  if (!settings.is_object()) return wrong_field("model", "an object", settings);
  if (!file.has_vocab && field(settings, "vocab").is_null())
    return fail(Errc::bad_file, "\"vocab\" of the model: expected an object, got null");
  return file;
}

// Of the byte-level pre-tokenizer, alone or in a sequence.
void set_prefix_space(Json& pre_tokenizer, bool space) {
  if (field(pre_tokenizer, "type") == "ByteLevel") pre_tokenizer["add_prefix_space"] = space;
  if (field(pre_tokenizer, "pretokenizers").is_array())
    for (Json& part : pre_tokenizer["pretokenizers"])
      if (field(part, "type") == "ByteLevel") part["add_prefix_space"] = space;
}

}  // namespace

// Errors name the file.
Result<void> Tokenizer::Shared::read(std::string_view json, const std::string& folder) {
  TokenizerFile file = HALYARD_TRY(in_part(read_parts(json), name));
  if (!folder.empty()) config = HALYARD_TRY(read_tokenizer_config(folder, json, field(file.rest, "added_tokens")));
  HALYARD_TRY(in_part(make_steps(file), name));
  added = HALYARD_TRY(AddedTokens::make(field(file.rest, "added_tokens"), config.added, vocabulary, normalizer, name));
  return {};
}

Result<void> Tokenizer::Shared::make_steps(TokenizerFile& file) {
  if (config.add_prefix_space) set_prefix_space(file.rest["pre_tokenizer"], *config.add_prefix_space);
  vocabulary = Vocabulary(std::move(file.vocab));
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"})
    if (const std::size_t steps = steps_of(field(file.rest, part)); steps > max_steps)
      return fail(Errc::limit_exceeded, fmt::format("{}: {} steps, the limit is {}", part, steps, max_steps));
  normalizes = !field(file.rest, "normalizer").is_null();
  normalizer = HALYARD_TRY(in_part(make_normalizer(field(file.rest, "normalizer")), "normalizer"));
  pre_tokenizer = HALYARD_TRY(in_part(make_pre_tokenizer(field(file.rest, "pre_tokenizer")), "pre_tokenizer"));
  model = HALYARD_TRY(in_part(make_model(field(file.rest, "model"), vocabulary, file.merges), "model"));
  post_processor = HALYARD_TRY(in_part(make_post_processor(field(file.rest, "post_processor")), "post_processor"));
  decoder = HALYARD_TRY(in_part(make_decoder(field(file.rest, "decoder")), "decoder"));
  return {};
}

Result<std::vector<std::int32_t>> Tokenizer::Shared::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  for (const Segment& segment : added.split(text, false, !config.split_special_tokens)) {
    if (segment.id) ids.push_back(*segment.id);
    else
      HALYARD_TRY(encode_segment(text.substr(segment.span.begin, segment.span.end - segment.span.begin),
                                 segment.span.begin == 0, ids));
  }
  return ids;
}

Result<void> Tokenizer::Shared::encode_segment(std::string_view text, bool first,
                                               std::vector<std::int32_t>& ids) const {
  const std::size_t limit = growth_limit(text.size());
  if (!normalizes) return encode_normalized(text, first, limit, ids);
  return encode_normalized(HALYARD_TRY(normalizer(std::string(text), limit)), first, limit, ids);
}

Result<void> Tokenizer::Shared::encode_normalized(std::string_view text, bool first, std::size_t limit,
                                                  std::vector<std::int32_t>& ids) const {
  for (const Segment& segment : added.split(text, true, !config.split_special_tokens)) {
    if (segment.id) {
      ids.push_back(*segment.id);
      continue;
    }
    std::vector<Piece> pieces;
    pieces.push_back({std::string(text.substr(segment.span.begin, segment.span.end - segment.span.begin)),
                      first && segment.span.begin == 0});
    pieces = HALYARD_TRY(pre_tokenizer(std::move(pieces), limit));
    HALYARD_TRY(model->encode(pieces, ids));
  }
  return {};
}

std::optional<std::string_view> Tokenizer::Shared::token(std::int32_t id) const {
  if (const AddedToken* token = added.find(id)) return token->content;
  return vocabulary.token(id);
}

bool Tokenizer::Shared::is_special(std::int32_t id) const {
  const AddedToken* token = added.find(id);
  return token != nullptr && token->special;
}

Result<Tokenizer> Tokenizer::load(const std::string& path) {
  return guarded([&]() -> Result<Tokenizer> {
    const std::string json = HALYARD_TRY(read_file(path, std::uint64_t{256} << 20));
    HALYARD_TRY(refuse_lfs_pointer(json, path));
    return parse(json, path);
  });
}

Result<Tokenizer> Tokenizer::load_folder(const std::string& folder) {
  return guarded([&]() -> Result<Tokenizer> {
    auto shared = std::make_shared<Shared>();
    shared->name = folder + "/tokenizer.json";
    const std::string json = HALYARD_TRY(read_file(shared->name, std::uint64_t{256} << 20));
    HALYARD_TRY(refuse_lfs_pointer(json, shared->name));
    HALYARD_TRY(shared->read(json, folder));
    return Tokenizer(std::move(shared));
  });
}

Result<Tokenizer> Tokenizer::parse(std::string_view json, std::string_view name) {
  return guarded([&]() -> Result<Tokenizer> {
    auto shared = std::make_shared<Shared>();
    shared->name = name;
    HALYARD_TRY(shared->read(json, ""));
    return Tokenizer(std::move(shared));
  });
}

Result<std::vector<std::int32_t>> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return guarded([&]() -> Result<std::vector<std::int32_t>> {
    if (text.size() > max_text)
      return fail(Errc::limit_exceeded,
                  fmt::format("the text to encode has {} bytes, the limit is {}", text.size(), max_text));
    if (const std::size_t at = find_invalid_utf8(text); at != text.npos)
      return fail(Errc::invalid_argument, fmt::format("the text to encode is not UTF-8 at byte {}", at));
    auto encoded = shared_->encode(text);
    if (!encoded) return fail(std::move(encoded).error(), shared_->name);
    const PostProcessor& around = shared_->post_processor;
    std::vector<std::int32_t> ids;
    if (add_special_tokens) ids = around.before;
    if (around.keeps_text) ids.insert(ids.end(), encoded->begin(), encoded->end());
    if (add_special_tokens) ids.insert(ids.end(), around.after.begin(), around.after.end());
    return ids;
  });
}

std::size_t Tokenizer::vocab_size() const {
  std::int64_t highest = shared_->vocabulary.highest_id();
  for (const AddedToken& token : shared_->added.all()) highest = std::max<std::int64_t>(highest, token.id);
  return static_cast<std::size_t>(highest + 1);
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = shared_->added.find(token)) return added->id;
  return shared_->vocabulary.find(token);
}

const std::map<std::string, std::string>& Tokenizer::special_tokens() const { return shared_->config.special_tokens; }
std::optional<std::string_view> Tokenizer::id_to_token(std::int32_t id) const { return shared_->token(id); }
std::string Tokenizer::file_of(std::int32_t id) const {
  const AddedToken* token = shared_->added.find(id);
  return token && !token->file.empty() ? token->file : shared_->name;
}
bool Tokenizer::is_special(std::int32_t id) const { return shared_->is_special(id); }

Result<std::string> Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  return guarded([&]() -> Result<std::string> {
    StreamDecoder stream(*this, skip_special_tokens);
    std::string text;
    for (const std::int32_t id : ids) text += stream.add(id);
    text += stream.finish();
    if (stream.error()) return fail(*stream.error());
    return text;
  });
}

struct StreamDecoder::State {
  std::shared_ptr<const Tokenizer::Shared> tokenizer;
  bool skip_special;
  Decoding decoding;
  bool finished = false;
  std::optional<Error> error;

  std::string take(Result<std::string> text) {
    if (text) return *std::move(text);
    error = std::move(text).error();
    if (error->code != Errc::out_of_memory) error = std::move(*error).in(tokenizer->name);
    return {};
  }
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : state_(if_memory([&] {
        return std::unique_ptr<State>(
            new State{tokenizer.shared_, skip_special_tokens, Decoding(tokenizer.shared_->decoder), false, {}});
      })) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::add(std::int32_t id) {
  if (!state_) return {};
  const auto token = state_->tokenizer->token(id);
  if (!token || state_->error || state_->finished) return {};
  if (state_->skip_special && state_->tokenizer->is_special(id)) return {};
  return state_->take(guarded([&] { return state_->decoding.add(std::string(*token)); }));
}

std::string StreamDecoder::finish() {
  if (!state_ || state_->error || state_->finished) return {};
  state_->finished = true;
  return state_->take(guarded([&] { return state_->decoding.finish(); }));
}

const std::optional<Error>& StreamDecoder::error() const {
  static const std::optional<Error> no_memory = Error{Errc::out_of_memory, {}, {}};
  return state_ ? state_->error : no_memory;
}

}  // namespace halyard
