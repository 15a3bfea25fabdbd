#include "halyard/text/vocabulary.h"

#include <algorithm>
#include <bit>

namespace halyard::text {

Vocabulary::Vocabulary(std::vector<VocabularyEntry> entries) : entries_(std::move(entries)) {
  slots_.assign(std::bit_ceil(entries_.size() * 2 + 1), 0);
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    std::uint32_t& slot = slots_[slot_of(entries_[i].token)];
    if (slot == 0) {
      slot = i + 1;
      ++count_;
    } else {
      entries_[slot - 1].id = entries_[i].id;
    }
    highest_id_ = std::max(highest_id_, entries_[i].id);
  }
  const std::size_t span = static_cast<std::size_t>(highest_id_ + std::int64_t{1});
  const bool dense = span <= 4 * entries_.size() + 100'000;
  if (dense) by_id_.assign(span, 0);
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    std::uint32_t& place = dense ? by_id_[static_cast<std::size_t>(entries_[i].id)] : by_sparse_id_[entries_[i].id];
    if (place == 0) place = i + 1;
  }
}

std::size_t Vocabulary::slot_of(std::string_view token) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash_(token) & mask;
  while (slots_[slot] != 0 && entries_[slots_[slot] - 1].token != token) slot = (slot + 1) & mask;
  return slot;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return std::nullopt;
  const std::uint32_t entry = slots_[slot_of(token)];
  if (entry == 0) return std::nullopt;
  return entries_[entry - 1].id;
}

std::optional<std::string_view> Vocabulary::token(std::int32_t id) const {
  std::uint32_t entry = 0;
  if (id >= 0 && static_cast<std::size_t>(id) < by_id_.size()) entry = by_id_[static_cast<std::size_t>(id)];
  else if (const auto it = by_sparse_id_.find(id); it != by_sparse_id_.end()) entry = it->second;
  if (entry == 0) return std::nullopt;
  return entries_[entry - 1].token;
}

}  // namespace halyard::text
