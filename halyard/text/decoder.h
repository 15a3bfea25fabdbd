// Decoders of tokenizer.json: from tokens back to text, one token at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "halyard/base/json.h"

namespace halyard::text {

using Texts = std::vector<std::string>;

/// One step of a decoder, with what it has to remember of the tokens before. Appends to `out` what will not change.
class DecodeStep {
 public:
  virtual ~DecodeStep() = default;
  virtual Result<void> add(std::string token, Texts& out) = 0;
  /// After the last token.
  virtual Result<void> finish(Texts&) { return {}; }
};

/// How to start each step of a decoder, in order.
using Decoder = std::vector<std::function<std::unique_ptr<DecodeStep>()>>;

/// From the field `decoder`; null makes one that puts a space between tokens. Errors name the type or field that is wrong.
Result<Decoder> make_decoder(const Json&);

/// A decoder at work on one list of tokens.
class Decoding {
 public:
  explicit Decoding(const Decoder&);
  /// The text that is certain after `token`.
  Result<std::string> add(std::string token);
  Result<std::string> finish();

 private:
  std::vector<std::unique_ptr<DecodeStep>> steps_;
};

}  // namespace halyard::text
