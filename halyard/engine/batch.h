// Several sequences of one model, read together: a step runs rows of many, so that the weights are read once for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halyard/engine/kv_cache.h"
#include "halyard/engine/page_book.h"
#include "halyard/engine/steps.h"
#include "halyard/models/model.h"

namespace halyard::engine {

struct BatchOptions {
  std::size_t positions = 0;   ///< that all sequences hold together; rounded up to pages
  std::size_t context = 0;     ///< the most that one holds; 0: the model's context
  std::size_t max_rows = 512;  ///< tokens of one step
  /// Sequences there are at once, of a model whose layers keep state in slots: three slots are made for each, for what it
  /// has read, for what a step makes of that, and for the ends of pages that others may go on from.
  std::size_t sequences = 16;
};

/// Sequences that share pages, and slots of state where layers keep such. A sequence's logits are the same bytes alone or beside any others, however its text is cut
/// into steps, and whether the pages of its prefix were read by it or by another. A step that fails leaves every sequence as
/// it was. Not thread-safe.
class Batch {
 public:
  using Id = PageBook::Id;
  /// Errors: no memory, naming positions.
  static Result<Batch> make(models::Model, BatchOptions);

  /// Errors: no memory.
  Result<Id> open();
  /// One that begins as another does: pages are shared until one of the two writes into them.
  Result<Id> fork(Id from);
  /// What a closed sequence has read stays known until its pages are wanted.
  void close(Id id) { book_.close(id); }
  /// Keeps the first n tokens; of a model with slots as many of them as end where a state was kept. Returns how many.
  std::size_t truncate(Id id, std::size_t n) { return book_.truncate(id, n); }
  /// Takes over what any sequence has read of `text`, which begins with what this one has read, in whole pages and less its
  /// last token. Returns how many tokens that spares. Only where this one's text ends at a page's end; of a model with slots
  /// up to the last page at whose end a step ended.
  std::size_t adopt(Id id, std::span<const std::int32_t> text);
  std::size_t position(Id id) const { return book_.size(id); }

  using Want = StepPart::Want;  ///< whose logits a part asks for
  /// Tokens that a sequence reads in a step.
  struct Part {
    Id sequence;
    std::span<const std::int32_t> tokens;
    Want want = Want::last;
  };
  /// A part's logits [rows wanted, V], or why it failed: they are not finite. Its sequence is then as it was.
  using Logits = Result<std::span<float>>;
  /// Runs the parts, each of another sequence, as one step. Returns the logits of each part, valid until the next step and
  /// the caller's to change. Errors: no tokens; more than max_rows; a token outside the embedding; a text longer than the
  /// context; no pages left; what running reports.
  Result<std::vector<Logits>> step(std::span<const Part>);

  const models::Model& model() const { return steps_.model(); }
  std::size_t max_rows() const { return options_.max_rows; }
  /// The most positions that one sequence can hold.
  std::size_t context() const;
  /// The most sequences that a step can have, and that may be open beside it.
  std::size_t max_sequences() const { return slotted_ ? options_.sequences : options_.max_rows; }
  bool has_slots() const { return slotted_; }
  std::size_t page() const { return book_.page(); }  ///< positions
  std::size_t pages() const { return book_.pages_all(); }
  std::size_t pages_free() const { return book_.pages_free(); }
  std::size_t slots_used() const { return book_.states_used(); }  ///< by sequences
  /// Pages that reading n more tokens takes.
  std::size_t pages_wanted(Id id, std::size_t n) const { return book_.pages_wanted(id, n); }

 private:
  Batch(BatchOptions options, PageBook book, Steps steps);
  Result<void> check(std::span<const Part>) const;
  Result<Buffer> run(std::span<const Part>);
  Result<std::vector<Logits>> finish(std::span<const Part>, Buffer logits);

  BatchOptions options_;
  PageBook book_;
  Steps steps_;
  bool paged_, slotted_;
  std::vector<float> host_logits_;
};

}  // namespace halyard::engine
