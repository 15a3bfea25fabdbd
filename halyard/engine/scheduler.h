// Which tokens of which texts a step reads: requests come and go between steps, and share memory and time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "halyard/engine/batch.h"
#include "halyard/engine/generator.h"
#include "halyard/engine/pace.h"
#include "halyard/engine/request.h"

namespace halyard::engine {

struct SchedulerOptions {
  std::size_t max_sequences = 64;  ///< completions that are under way at once; no more than Batch::max_sequences()
};

/// The state of all requests. It has no thread and no clock: whoever drives it calls step() as long as it is not idle, and
/// says how long that took.
///
/// A step reads one token of every text that is being written, and then parts of prompts: half of what Pace lets in is the
/// oldest prompt's, the rest goes to those with the least left. A prompt waits for another that is reading the same page.
///
/// Requests are taken in as they came, each as soon as there are pages for its prompt and one more for all. Where pages run
/// out later, the text that came last is put back, to be read again from its tokens: its bytes are the same.
///
/// A part of a step that fails by itself ends its completion. Where a step fails as a whole, its sequences are as before; each
/// is then tried alone, and ends if it fails again. None of this touches others.
class Scheduler {
 public:
  using Id = std::uint64_t;
  explicit Scheduler(Batch, SchedulerOptions = {});

  /// A request that can be run: with what chooses its tokens.
  struct Job {
    Request request;
    std::vector<Sampler> samplers;  // one a completion
  };
  /// May be called from any thread at any time. Errors: what can never be run, and why.
  Result<Job> check(Request) const;
  /// Takes a request in.
  Id add(Job);
  /// Ends a request, if it is under way; its events come with the next step.
  void cancel(Id);
  /// Ends all that is under way, without events.
  void clear();

  /// Whether some of a request's completions have not ended.
  bool has(Id id) const { return jobs_.contains(id); }
  /// Whether a step would do nothing.
  bool is_idle() const { return waiting_.empty() && running_.empty() && events_.empty(); }
  /// Reads tokens and chooses some. Returns what became of requests, in order.
  std::vector<Event> step();
  /// The last step took so long.
  void took(double seconds);

  const Batch& batch() const { return batch_; }
  std::size_t running() const { return running_.size(); }
  std::size_t waiting() const { return waiting_.size(); }
  std::uint64_t preempted() const { return preempted_; }  ///< times a text was put back
  /// Rows of the last step: of texts that were written, and of prompts.
  std::size_t rows_written() const { return rows_written_; }
  std::size_t rows_read() const { return rows_read_; }

 private:
  struct Shared {  // what the completions of a request share
    Id id;
    GenerateOptions options;
    Usage usage;
    std::size_t open;  // completions that have not ended
  };
  struct Line {  // a completion, or, until its prompt is read, all of a request
    Shared* job;
    std::size_t choice;
    std::vector<std::int32_t> tokens;  // of prompt and completion
    Sampler sampler;
    std::vector<Sampler> others;  // of the completions that will fork off when the prompt is read: choice + 1 …
    std::size_t generated = 0, failures = 0;
    std::size_t reached = 0;                 // the most tokens it has ever read
    std::optional<Batch::Id> sequence = {};  // while it runs
  };
  using Lines = std::list<Line>;
  struct Chosen {
    Line* line;
    std::size_t rows;
  };
  static Lines::iterator after(Lines&, const Line&);
  std::size_t position(const Line& l) const { return batch_.position(*l.sequence); }
  std::size_t left(const Line& l) const { return l.tokens.size() - position(l); }
  std::size_t pages_ahead(const Line&) const;

  void admit();
  void adopt(Line&);
  void note_adopted(Line&, std::size_t begin);
  void choose();
  void choose_rows();
  void read_prompts(std::vector<Line*> readers, std::size_t rows);
  std::size_t rows_at_once(const Line&, std::size_t chosen, std::size_t n) const;
  bool waits_for_page(const Line&) const;
  void put_back(Lines::iterator);
  void run();
  void go_on(Line&, std::span<float> logits);
  void next_token(Line&, std::span<float> logits);
  void end(Line&, std::optional<FinishReason>, std::optional<Error> = {});

  Batch batch_;
  SchedulerOptions options_;
  Pace pace_;
  Lines waiting_, running_;  // as they came
  std::map<Id, Shared> jobs_;
  std::vector<Chosen> chosen_;
  std::vector<Event> events_;
  Id next_ = 1;
  std::uint64_t preempted_ = 0;
  std::size_t rows_written_ = 0, rows_read_ = 0;
  bool ran_ = false;  // the last step, and without failing
};

}  // namespace halyard::engine
