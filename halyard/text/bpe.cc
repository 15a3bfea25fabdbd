// Byte-pair encoding. A piece starts as its characters; of all neighbours that may merge, the pair that stands earliest in
// the list merges first, the leftmost one where it stands twice. With a heap of candidates: O(n log n).
#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "halyard/base/seeded_hash.h"
#include "halyard/text/json_fields.h"
#include "halyard/text/model.h"
#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

using Id = std::int32_t;
constexpr std::uint32_t none = ~std::uint32_t{0};

struct Merge {
  std::uint32_t rank = none;  // place in the list; none: the pair does not merge
  Id result = 0;
};

// (left id, right id) -> Merge: a hash table with open addressing.
class MergeTable {
 public:
  explicit MergeTable(std::size_t count) : slots_(std::bit_ceil(count * 2 + 1)) {}
  void set(Id left, Id right, Merge merge) { slots_[slot_of(left, right)] = {left, right, merge}; }
  Merge find(Id left, Id right) const { return slots_[slot_of(left, right)].merge; }

 private:
  struct Slot {
    Id left = 0;
    Id right = 0;
    Merge merge;
  };
  std::size_t slot_of(Id left, Id right) const {
    const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = hash_(key) & mask;
    while (slots_[i].merge.rank != none && (slots_[i].left != left || slots_[i].right != right)) i = (i + 1) & mask;
    return i;
  }
  std::vector<Slot> slots_;
  SeededHash hash_;
};

struct Settings {
  std::string prefix;  // of every symbol but a piece's first
  std::string suffix;  // of a piece's last symbol
  std::optional<std::string> unknown;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  // a piece that is a token is taken as it is
};

class Bpe : public Model {
 public:
  Bpe(Settings settings, const Vocabulary& vocabulary, std::size_t merges)
      : settings_(std::move(settings)), vocabulary_(vocabulary), merges_(merges) {
    for (CodePoint c = 0; c < short_ids_.size(); ++c) {
      std::string character;
      append_utf8(character, c);
      short_ids_[c] = vocabulary.find(character).value_or(-1);
    }
    for (int byte = 0; byte < 256; ++byte)
      byte_ids_[static_cast<std::size_t>(byte)] = vocabulary.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
    if (settings_.unknown) unknown_id_ = vocabulary.find(*settings_.unknown);
  }

  Result<void> add_merge(const std::string& left, const std::string& right, std::uint32_t rank) {
    const auto id = [&](const std::string& token) -> Result<Id> {
      const auto found = vocabulary_.find(token);
      if (!found)
        return fail(Errc::bad_file,
                    fmt::format("merges: merge {} ({}, {}) needs the token {}, which is not in the vocabulary", rank,
                                in_quotes(left, 100), in_quotes(right, 100), in_quotes(token, 100)));
      return *found;
    };
    const Id a = HALYARD_TRY(id(left));
    const Id b = HALYARD_TRY(id(right));
    const std::size_t skip = right.starts_with(settings_.prefix) ? settings_.prefix.size() : 0;
    merges_.set(a, b, {rank, HALYARD_TRY(id(left + right.substr(skip)))});
    return {};
  }

  Result<void> encode(const std::vector<Piece>& pieces, std::vector<Id>& ids) const override {
    Work work;
    for (const Piece& piece : pieces) {
      if (settings_.ignore_merges) {
        if (const auto id = vocabulary_.find(piece.text)) {
          ids.push_back(*id);
          continue;
        }
      }
      work.symbols.clear();
      HALYARD_TRY(spell(piece.text, work.symbols));
      merge(work);
      for (std::uint32_t i = 0; i < work.symbols.size(); i = work.symbols[i].next) ids.push_back(work.symbols[i].id);
    }
    return {};
  }

 private:
  // Symbols are a list in place: a merge keeps the left one and unlinks the right one.
  struct Symbol {
    Id id;
    std::uint32_t previous;
    std::uint32_t next;  // none, or past the end, at the end
    bool gone;
  };
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t left;  // index of the left symbol
    Id result;
    bool operator<(const Candidate& o) const {
      return rank != o.rank ? rank > o.rank : left > o.left;
    }  // for a min-heap
  };
  struct Work {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // The id of one character as it stands in a piece, or -1.
  Id id_of(std::string_view character, bool first, bool last) const {
    const bool dressed = (!first && !settings_.prefix.empty()) || (last && !settings_.suffix.empty());
    if (!dressed) {
      std::size_t pos = 0;
      const CodePoint c = next_code_point(character, pos);
      return c < short_ids_.size() ? short_ids_[c] : vocabulary_.find(character).value_or(-1);
    }
    std::string symbol = first ? std::string() : settings_.prefix;
    symbol += character;
    if (last) symbol += settings_.suffix;
    return vocabulary_.find(symbol).value_or(-1);
  }

  // Appends the bytes' own tokens, if all of them have one.
  bool spell_bytes(std::string_view character, std::vector<Symbol>& symbols) const {
    for (const char byte : character)
      if (byte_ids_[static_cast<std::uint8_t>(byte)] < 0) return false;
    for (const char byte : character) append(symbols, byte_ids_[static_cast<std::uint8_t>(byte)]);
    return true;
  }

  static void append(std::vector<Symbol>& symbols, Id id) {
    const auto i = static_cast<std::uint32_t>(symbols.size());
    symbols.push_back({id, i - 1, i + 1, false});
  }

  Result<void> spell(std::string_view text, std::vector<Symbol>& symbols) const {
    bool unknown = false;  // an unknown token stands to be written: it waits for more to fuse with
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t begin = pos;
      next_code_point(text, pos);
      const std::string_view character = text.substr(begin, pos - begin);
      const Id id = id_of(character, begin == 0, pos == text.size());
      if (id >= 0) {
        if (unknown) append(symbols, *unknown_id_);
        unknown = false;
        append(symbols, id);
      } else if (settings_.byte_fallback && spell_bytes(character, symbols)) {
        continue;  // what is unknown goes on waiting: the library that defines this writes it later, too
      } else if (settings_.unknown) {
        if (!unknown_id_)
          return fail(Errc::bad_file,
                      fmt::format("model.unk_token {} is not in the vocabulary", in_quotes(*settings_.unknown)));
        if (unknown && !settings_.fuse_unknown) append(symbols, *unknown_id_);
        unknown = true;
      }
    }
    if (unknown) append(symbols, *unknown_id_);
    return {};
  }

  void merge(Work& work) const {
    std::vector<Symbol>& symbols = work.symbols;
    std::vector<Candidate>& heap = work.heap;
    heap.clear();
    const auto count = static_cast<std::uint32_t>(symbols.size());
    for (std::uint32_t i = 0; i + 1 < count; ++i)
      if (const Merge m = merges_.find(symbols[i].id, symbols[i + 1].id); m.rank != none)
        heap.push_back({m.rank, i, m.result});
    std::make_heap(heap.begin(), heap.end());
    const auto consider = [&](std::uint32_t left) {
      const Merge m = merges_.find(symbols[left].id, symbols[symbols[left].next].id);
      if (m.rank == none) return;
      heap.push_back({m.rank, left, m.result});
      std::push_heap(heap.begin(), heap.end());
    };
    while (!heap.empty()) {
      const Candidate best = heap.front();
      std::pop_heap(heap.begin(), heap.end());
      heap.pop_back();
      Symbol& left = symbols[best.left];
      if (left.gone || left.next >= count) continue;
      Symbol& right = symbols[left.next];
      // A neighbour has merged since: the pair is another one now.
      if (const Merge now = merges_.find(left.id, right.id); now.rank == none || now.result != best.result) continue;
      left.id = best.result;
      right.gone = true;
      left.next = right.next;
      if (left.next < count) symbols[left.next].previous = best.left;
      if (left.previous < count) consider(left.previous);
      if (left.next < count) consider(best.left);
    }
  }

  Settings settings_;
  const Vocabulary& vocabulary_;
  MergeTable merges_;
  std::array<Id, 0x180> short_ids_{};  // of the characters below U+0180, byte stand-ins among them; -1: none
  std::array<Id, 256> byte_ids_{};     // of "<0x00>" and so on; -1: none
  std::optional<Id> unknown_id_;
};

Result<std::string> optional_string(const Json& json, std::string_view key) {
  if (field(json, key).is_null()) return std::string();
  return string_field(json, key);
}

}  // namespace

Result<std::unique_ptr<const Model>> make_bpe(const Json& json, const Vocabulary& vocabulary, const Merges& merges) {
  Settings settings;
  settings.prefix = HALYARD_TRY(optional_string(json, "continuing_subword_prefix"));
  settings.suffix = HALYARD_TRY(optional_string(json, "end_of_word_suffix"));
  if (!field(json, "unk_token").is_null()) settings.unknown = HALYARD_TRY(string_field(json, "unk_token"));
  settings.fuse_unknown = HALYARD_TRY(bool_field(json, "fuse_unk", false));
  settings.byte_fallback = HALYARD_TRY(bool_field(json, "byte_fallback", false));
  settings.ignore_merges = HALYARD_TRY(bool_field(json, "ignore_merges", false));
  auto bpe = std::make_unique<Bpe>(std::move(settings), vocabulary, merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank)
    HALYARD_TRY(bpe->add_merge(merges[rank].first, merges[rank].second, static_cast<std::uint32_t>(rank)));
  return bpe;
}

}  // namespace halyard::text
