#include "halyard/text/tokenizer_file.h"

#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

constexpr std::size_t max_depth = 128;
constexpr std::int64_t max_id = 0x7fffffff;

// Receives nlohmann's events. Every handler returns false to stop, having set `error`.
class Reader : public nlohmann::json_sax<Json> {
 public:
  TokenizerFile file;
  std::optional<Error> error;

  bool null() override { return scalar(nullptr, "null"); }
  bool boolean(bool value) override { return scalar(value, "true or false"); }
  bool number_integer(std::int64_t value) override {
    return place_ == Place::vocab ? entry(value, std::to_string(value)) : scalar(value, "a number");
  }
  bool number_unsigned(std::uint64_t value) override {
    if (place_ != Place::vocab) return scalar(value, "a number");
    return entry(value <= max_id ? static_cast<std::int64_t>(value) : -1, std::to_string(value));
  }
  bool number_float(double value, const std::string&) override { return scalar(value, "a number with a fraction"); }
  bool binary(Json::binary_t&) override { return stop("binary data"); }

  bool string(std::string& value) override {
    if (place_ == Place::merges) return merge_line(value);
    if (place_ == Place::merge) {
      if (parts_ < 2) (parts_ == 0 ? file.merges.back().first : file.merges.back().second) = std::move(value);
      ++parts_;
      return true;
    }
    return scalar(std::move(value), "a string");
  }

  bool start_object(std::size_t) override {
    if (place_ != Place::anywhere) return scalar(nullptr, "an object");
    if (in_model() && key_ == "vocab") {
      file.vocab.clear();
      file.has_vocab = true;
      place_ = Place::vocab;
      return true;
    }
    return open(Json::object());
  }
  bool key(std::string& value) override {
    key_ = std::move(value);
    return true;
  }
  bool end_object() override {
    if (place_ == Place::vocab) place_ = Place::anywhere;
    else open_.pop_back();
    return true;
  }

  bool start_array(std::size_t) override {
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

  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& e) override {
    // "[json.exception.parse_error.101] parse error at line 1, …": what follows the bracket is for people
    std::string_view what = e.what();
    if (const auto end = what.find("] "); end != what.npos) what.remove_prefix(end + 2);
    what = what.substr(0, what.find("; last read"));  // it quotes bytes that may not be UTF-8
    return stop(fmt::format("not valid JSON: {}", what.substr(0, 300)));
  }

 private:
  enum class Place { anywhere, vocab, merges, merge };

  bool stop(std::string message) {
    if (!error) error = Error{Errc::bad_file, std::move(message), {}};
    return false;
  }
  // Directly in the object "model" of the root.
  bool in_model() const { return open_.size() == 2 && second_is_model_; }

  Json* put(Json value) {
    if (open_.empty()) return &(file.rest = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool open(Json container) {
    if (open_.size() >= max_depth) return stop(fmt::format("nested deeper than {} levels", max_depth));
    if (open_.size() == 1) second_is_model_ = key_ == "model" && file.rest.is_object();
    open_.push_back(put(std::move(container)));
    return true;
  }
  bool scalar(Json value, std::string_view what) {
    if (place_ == Place::vocab) return stop(fmt::format("model.vocab: the id of token \"{}\" is {}, expected an integer", key_, what));
    if (place_ == Place::merges || place_ == Place::merge)
      return stop(fmt::format("model.merges: expected \"a b\" or [\"a\", \"b\"], got {}", what));
    put(std::move(value));
    return true;
  }
  bool entry(std::int64_t id, const std::string& written) {
    if (id < 0 || id > max_id)
      return stop(fmt::format("model.vocab: the id of token \"{}\" is {}, expected 0 to {}", key_, written, max_id));
    file.vocab.push_back({std::move(key_), static_cast<std::int32_t>(id)});
    return true;
  }
  bool merge_line(const std::string& line) {
    if (line.starts_with("#version")) return true;  // the head of the text files that such lists were made from
    const std::size_t blank = line.find(' ');
    if (blank == line.npos || line.find(' ', blank + 1) != line.npos)
      return stop(fmt::format("model.merges: merge {} is \"{}\", expected two tokens with one space between them",
                              file.merges.size(), shortened(line, 100)));
    file.merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
    return true;
  }

  Place place_ = Place::anywhere;
  std::vector<Json*> open_;  // the containers now open, outermost first
  bool second_is_model_ = false;
  std::string key_;   // the last one read
  int parts_ = 0;     // of the merge now open
};

}  // namespace

Result<TokenizerFile> read_tokenizer_file(std::string_view json) {
  Reader reader;
  const bool done = Json::sax_parse(json.begin(), json.end(), &reader);
  if (reader.error) return fail(std::move(*reader.error));
  if (!done) return fail(Errc::bad_file, "not valid JSON");
  return std::move(reader.file);
}

}  // namespace halyard::text
