// Tokens and their ids, both ways.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "halyard/base/seeded_hash.h"

namespace halyard::text {

struct VocabularyEntry {
  std::string token;
  std::int32_t id = 0;
};

/// A token that stands twice has its last id; an id that stands twice has its first token.
class Vocabulary {
 public:
  Vocabulary() = default;
  explicit Vocabulary(std::vector<VocabularyEntry> entries);

  std::optional<std::int32_t> find(std::string_view token) const;
  std::optional<std::string_view> token(std::int32_t id) const;
  /// Different tokens.
  std::size_t size() const { return count_; }
  /// -1 where there is none.
  std::int32_t highest_id() const { return highest_id_; }

 private:
  std::size_t slot_of(std::string_view token) const;

  std::vector<VocabularyEntry> entries_;
  std::vector<std::uint32_t> slots_;  // hash table with open addressing: index in entries_ plus one, 0 empty
  std::vector<std::uint32_t> by_id_;  // index in entries_ plus one, where the ids are dense
  std::unordered_map<std::int32_t, std::uint32_t, SeededHash> by_sparse_id_;  // the same, where one id is far out
  SeededHash hash_;
  std::size_t count_ = 0;
  std::int32_t highest_id_ = -1;
};

}  // namespace halyard::text
