#include "halyard/text/tokenizer_file.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <fmt/format.h>

#include "halyard/base/json_reader.h"
#include "halyard/base/quote.h"

namespace halyard::text {
namespace {

constexpr std::int64_t max_id = 0x7fffffff;

// The parts that are lists of steps at most: a file whose parts hold more than this is none that anybody made.
constexpr std::string_view step_parts[] = {"normalizer", "pre_tokenizer", "post_processor", "decoder"};
constexpr std::size_t max_part_values = 10'000;
constexpr std::size_t max_values = 2'000'000;  // in all but the two long lists

// Every handler returns false to stop, having set `refusal`.
class Reader : public JsonEvents {
 public:
  TokenizerFile file;

  bool null() override { return scalar(nullptr, "null"); }
  bool boolean(bool value) override { return scalar(value, "true or false"); }
  bool negative(std::int64_t value) override {
    return place_ == Place::vocab ? entry(value, std::to_string(value)) : scalar(value, "a number");
  }
  bool whole(std::uint64_t value) override {
    if (place_ != Place::vocab) return scalar(value, "a number");
    return entry(value <= max_id ? static_cast<std::int64_t>(value) : -1, std::to_string(value));
  }
  bool real(double value) override { return scalar(value, "a number with a fraction"); }

  bool string(std::string_view value) override {
    if (place_ == Place::merges) return merge_line(value);
    if (place_ == Place::merge) {
      if (parts_ < 2) (parts_ == 0 ? file.merges.back().first : file.merges.back().second) = value;
      ++parts_;
      return true;
    }
    return scalar(value, "a string");
  }

  bool start_object() override {
    if (place_ != Place::anywhere) return scalar(nullptr, "an object");
    if (in_model() && key_ == "vocab") {
      file.vocab.clear();
      file.has_vocab = true;
      place_ = Place::vocab;
      return true;
    }
    return open(Json::object());
  }
  bool key(std::string_view value) override {
    key_ = value;
    if (open_.size() == 1 && place_ == Place::anywhere) {
      part_values_ = 0;
      in_steps_ = std::find(std::begin(step_parts), std::end(step_parts), value) != std::end(step_parts);
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::vocab) place_ = Place::anywhere;
    else open_.pop_back();
    return true;
  }

  bool start_array() override {
    if (place_ == Place::merges) {
      place_ = Place::merge;
      parts_ = 0;
      file.merges.emplace_back();
      return true;
    }
    if (place_ != Place::anywhere) return scalar(nullptr, "an array");
    if (in_model() && key_ == "merges") {
      file.merges.clear();
      place_ = Place::merges;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (place_ == Place::merge) {
      if (parts_ != 2)
        return stop(fmt::format("model.merges: merge {} has {} tokens, expected two", file.merges.size() - 1, parts_));
      place_ = Place::merges;
    } else if (place_ == Place::merges) {
      place_ = Place::anywhere;
    } else {
      open_.pop_back();
    }
    return true;
  }

 private:
  enum class Place { anywhere, vocab, merges, merge };

  bool stop(std::string message) { return refuse(std::move(message)); }
  // Directly in the object "model" of the root.
  bool in_model() const { return open_.size() == 2 && second_is_model_; }

  // False where a part, or all of them, hold too much.
  bool counted() {
    if (++values_ > max_values)
      return refuse(fmt::format("more than {} values beside the vocabulary", max_values), Errc::limit_exceeded);
    if (!in_steps_ || ++part_values_ <= max_part_values) return true;
    return refuse(
        fmt::format("a normalizer, pre_tokenizer, post_processor or decoder of more than {} values", max_part_values),
        Errc::limit_exceeded);
  }
  Json* put(Json value) {
    if (open_.empty()) return &(file.rest = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    return &parent.push_back(std::move(value));
  }
  bool open(Json container) {
    if (!counted()) return false;
    if (open_.size() == 1) second_is_model_ = key_ == "model" && file.rest.is_object();
    open_.push_back(put(std::move(container)));
    return true;
  }
  bool scalar(Json value, std::string_view what) {
    if (place_ == Place::vocab)
      return stop(
          fmt::format("model.vocab: the id of token {} is {}, expected an integer", in_quotes(key_, 100), what));
    if (place_ == Place::merges || place_ == Place::merge)
      return stop(fmt::format("model.merges: expected \"a b\" or [\"a\", \"b\"], got {}", what));
    if (!counted()) return false;
    put(std::move(value));
    return true;
  }
  bool entry(std::int64_t id, const std::string& written) {
    if (id < 0 || id > max_id)
      return stop(fmt::format("model.vocab: the id of token {} is {}, expected 0 to {}", in_quotes(key_, 100), written,
                              max_id));
    file.vocab.push_back({std::move(key_), static_cast<std::int32_t>(id)});
    return true;
  }
  bool merge_line(std::string_view line) {
    if (line.starts_with("#version")) return true;  // the head of the text files that such lists were made from
    const std::size_t blank = line.find(' ');
    if (blank == line.npos || line.find(' ', blank + 1) != line.npos)
      return stop(fmt::format("model.merges: merge {} is {}, expected two tokens with one space between them",
                              file.merges.size(), in_quotes(line, 100)));
    file.merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
    return true;
  }

  Place place_ = Place::anywhere;
  std::vector<Json*> open_;  // the containers now open, outermost first
  bool second_is_model_ = false;
  std::string key_;  // the last one read
  int parts_ = 0;    // of the merge now open
  std::size_t values_ = 0, part_values_ = 0;
  bool in_steps_ = false;  // in one of `step_parts`
};

}  // namespace

Result<TokenizerFile> read_tokenizer_file(std::string_view json) {
  Reader reader;
  HALYARD_TRY(read_json(json, reader));
  return std::move(reader.file);
}

}  // namespace halyard::text
