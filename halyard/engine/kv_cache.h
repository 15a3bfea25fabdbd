// What one sequence keeps of its past.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "halyard/engine/page_book.h"
#include "halyard/hal/device.h"
#include "halyard/models/model.h"

namespace halyard::engine {

struct KvCacheOptions {
  DType dtype = DType::f16;  ///< f16, or f32 for the exact path
  std::size_t limit = 0;     ///< positions it may hold
  std::size_t step = 0;      ///< the most that come at once
  /// At the limit: false: an error; true: the first `keep` positions stay, as far as they leave room for one more, and the
  /// oldest after them are dropped, as mlx-lm's RotatingKVCache does. A single position takes the place of the oldest, so
  /// entries are then in no order, and all of them are seen. Several at once are put after what is held, in the order of the
  /// text and less all but limit - 1 of it; each sees the last `limit` entries. Keys keep the angle of the place in the text
  /// they were read at.
  bool rotating = false;
  std::size_t keep = 4;
};

/// The dtype a model's keys and values are kept in: f32 where arithmetic is exact, else f16.
DType kv_dtype(const models::Model&);
/// The memory of `pages` pages of kPageUnit positions and of `slots` slots in every layer that keeps such. Errors: no memory.
Result<std::vector<models::LayerState>> allocate_state(Device&, std::span<const models::LayerSpec>, DType,
                                                       std::size_t pages, std::size_t slots);
/// Whether any layer keeps pages, and slots.
bool has_pages(std::span<const models::LayerSpec>);
bool has_slots(std::span<const models::LayerSpec>);
/// Pages that hold so many positions.
std::size_t pages_for(std::size_t positions);

/// Where the new positions of a step go, and what they see.
struct Placement {
  std::vector<std::int32_t> slots;            ///< of the new entries
  std::size_t held = 0;                       ///< entries before them
  std::size_t window = 0;                     ///< the most entries that each sees, itself included; 0: all
  std::int32_t slot_from = -1, slot_to = -1;  ///< see ops::SlotBatch
};

/// Pages and slots in device memory, which never move. A step reserves, runs and commits; one that is cancelled instead leaves
/// the cache as it was. Of what is in slots only the last state and the marked one are kept.
class KvCache {
 public:
  /// The memory of all positions; where there is less, of as many as there is room for. Errors: no memory.
  static Result<KvCache> make(Device, std::span<const models::LayerSpec>, KvCacheOptions);

  /// Makes room for `n` more positions, recording what copies that needs. Errors: limit_exceeded where they would pass the
  /// limit of a cache that does not rotate; out_of_memory.
  Result<Placement> reserve(CommandEncoder&, std::size_t n);
  /// The positions reserved are held.
  void commit();
  /// What was reserved is not. Where it was the place of an entry that is still held, that entry may be gone: is_lost().
  void cancel();
  /// Forgets all positions.
  void reset();
  /// What a return to here needs is kept, instead of what was marked before.
  void mark() { marked_ = {position_, slot_}; }
  /// Forgets what was read after the first `n` positions. False where dropped positions make that impossible, or slots whose
  /// state there was not marked.
  bool truncate(std::size_t n);
  /// After a read from `position` on that failed: as it was before, or is_lost() where that cannot be.
  void roll_back(std::size_t position);
  /// What is held is not what a text of position() tokens leaves; reset() mends it.
  bool is_lost() const { return lost_; }

  std::span<const models::LayerState> layers() const { return layers_; }
  /// Pages of the entries held and reserved; never more than max_pages().
  std::span<const std::int32_t> pages() const { return book_.pages(next_.value_or(id_)); }
  std::size_t max_pages() const { return max_pages_; }
  std::int32_t slot(std::size_t entry) const { return book_.slot(id_, entry); }
  std::size_t size() const { return paged_ ? book_.size(id_) : position_; }  ///< positions held
  std::size_t position() const { return position_; }  ///< positions read: where the next token stands in the text
  std::size_t limit() const { return options_.limit; }
  bool rotating() const { return options_.rotating; }
  std::size_t bytes() const {
    return book_.pages_used() * page_bytes_ + slot_bytes_;
  }  ///< of the pages in use, and of slots

 private:
  static constexpr std::int32_t kSlots = 3;  // the last state, the marked one, and that which a step writes
  KvCache(std::size_t pages, KvCacheOptions options);
  std::int32_t free_slot() const;
  std::size_t kept() const;
  std::vector<std::int32_t> in_order(std::size_t drop) const;
  Result<Placement> rearrange(CommandEncoder&, std::size_t drop, std::size_t n);

  KvCacheOptions options_;
  std::vector<models::LayerState> layers_;
  PageBook book_;
  PageBook::Id id_;
  std::optional<PageBook::Id> next_;  // while a step is under way that puts the entries into new pages
  bool paged_ = true, slotted_ = false;
  std::int32_t slot_ = -1, next_slot_ = -1;  // of the last state, and of the step under way
  struct {
    std::size_t position = 0;
    std::int32_t slot = -1;
  } marked_;
  bool lost_ = false;
  bool replaces_ = false;  // while a step is under way that writes over the oldest entry
  std::size_t reserved_ = 0, position_ = 0, max_pages_ = 0, page_bytes_ = 0, slot_bytes_ = 0;
  std::size_t oldest_ = 0;  // entry after the kept ones that is next to go; 0: entries are in the order of the text
};

}  // namespace halyard::engine
