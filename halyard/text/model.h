// The model of a tokenizer.json: how a piece of text becomes token ids.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/text/pretokenizer.h"
#include "halyard/text/vocabulary.h"

namespace halyard::text {

class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of each piece in turn. Safe to call from several threads at once.
  virtual Result<void> encode(const std::vector<Piece>&, std::vector<std::int32_t>& ids) const = 0;
};

using Merges = std::vector<std::pair<std::string, std::string>>;

/// From the field `model` (less its two long lists). `vocabulary` must outlive the model.
Result<std::unique_ptr<const Model>> make_model(const Json&, const Vocabulary& vocabulary, const Merges&);

/// Byte-pair encoding: the settings are the fields of `model` (Sennrich et al., 2016).
Result<std::unique_ptr<const Model>> make_bpe(const Json&, const Vocabulary& vocabulary, const Merges&);

}  // namespace halyard::text
