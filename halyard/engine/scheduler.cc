#include "halyard/engine/scheduler.h"

#include <algorithm>
#include <new>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "halyard/engine/steps.h"

namespace halyard::engine {
namespace {

/// Where there is no memory for a sequence, a step ends as where an allocation of its own fails.
Batch::Id got(Result<Batch::Id> id) {
  if (!id) throw std::bad_alloc();
  return *id;
}

}  // namespace

Scheduler::Scheduler(Batch batch, SchedulerOptions options) : batch_(std::move(batch)), options_(options) {
  options_.max_sequences = std::clamp<std::size_t>(options_.max_sequences, 1, batch_.max_sequences());
}

Result<Scheduler::Job> Scheduler::check(Request r) const {
  const std::size_t n = r.prompt.size(), most = batch_.context();
  if (n == 0) return fail(Errc::invalid_argument, "there are no tokens to read: the prompt is empty");
  HALYARD_TRY(check_tokens(batch_.model(), r.prompt));
  if (n > most) {
    return fail(Errc::limit_exceeded,
                fmt::format("the prompt is {} tokens long, the model's context {}, and there is memory for {}", n,
                            batch_.model().info().max_positions, batch_.pages() * batch_.page()));
  }
  if (r.n == 0 || r.n > options_.max_sequences)
    return fail(Errc::invalid_argument, fmt::format("n must be from 1 to {}, got {}", options_.max_sequences, r.n));
  Job job;
  for (std::size_t i = 0; i < r.n; ++i) {
    SamplerOptions o = r.options.sampling;
    if (o.seed) *o.seed += i;
    job.samplers.push_back(HALYARD_TRY(Sampler::make(std::move(o), batch_.model().info().vocab_size)));
  }
  job.request = std::move(r);
  return job;
}

/// The first of `lines` that came after `l`.
Scheduler::Lines::iterator Scheduler::after(Lines& lines, const Line& l) {
  return std::ranges::find_if(
      lines, [&](const Line& other) { return std::tie(l.job->id, l.choice) < std::tie(other.job->id, other.choice); });
}

Scheduler::Id Scheduler::add(Job job) {
  const Id id = next_++;
  Request& r = job.request;
  Line line{.job = nullptr,
            .choice = 0,
            .tokens = std::move(r.prompt),
            .sampler = std::move(job.samplers.front()),
            .others = {}};
  line.others.assign(std::make_move_iterator(job.samplers.begin() + 1), std::make_move_iterator(job.samplers.end()));
  waiting_.push_back(std::move(line));
  Lines::iterator added = std::prev(waiting_.end());
  try {
    const Shared shared{id, std::move(r.options), {.prompt = added->tokens.size()}, r.n};
    added->job = &jobs_.emplace(id, shared).first->second;
  } catch (...) {
    waiting_.erase(added);
    throw;
  }
  return id;
}

void Scheduler::cancel(Id id) {
  for (Lines* lines : {&running_, &waiting_}) {
    for (auto l = lines->begin(); l != lines->end();) {
      const auto next = std::next(l);
      if (l->job->id == id) end(*l, FinishReason::cancelled);
      l = next;
    }
  }
}

void Scheduler::clear() {
  for (Line& l : running_)
    if (l.sequence) batch_.close(*l.sequence);
  for (auto* lines : {&running_, &waiting_}) lines->clear();
  jobs_.clear();
  chosen_.clear();
  events_.clear();
}

std::vector<Event> Scheduler::step() {
  ran_ = false;
  admit();
  choose();
  if (!chosen_.empty()) run();
  return std::exchange(events_, {});
}

void Scheduler::took(double seconds) {
  if (ran_) pace_.took(rows_written_, rows_read_, seconds);
}

// ---- Memory ---------------------------------------------------------------------------------------------------------

/// Pages that a line will take at least, until it has read its text and one more token.
std::size_t Scheduler::pages_ahead(const Line& l) const {
  const std::size_t most = std::min(l.tokens.size() + 1, batch_.context());
  return batch_.pages_wanted(*l.sequence, most - position(l)) + l.others.size();
}

/// Takes in what there is memory for, in order. The first of all always fits: see check.
void Scheduler::admit() {
  std::size_t sequences = 0, promised = 0;
  for (const Line& l : running_) sequences += 1 + l.others.size(), promised += pages_ahead(l);
  while (!waiting_.empty()) {
    Line& l = waiting_.front();
    if (sequences + 1 + l.others.size() > options_.max_sequences) return;
    l.sequence = got(batch_.open());
    batch_.adopt(*l.sequence, l.tokens);
    if (!running_.empty() && promised + pages_ahead(l) > batch_.pages_free()) {
      batch_.close(*l.sequence);
      l.sequence.reset();
      return;
    }
    sequences += 1 + l.others.size();
    promised += pages_ahead(l);
    note_adopted(l, 0);
    running_.splice(after(running_, l), waiting_, waiting_.begin());
  }
}

/// Takes over what others have read of a line's text meanwhile.
void Scheduler::adopt(Line& l) {
  const std::size_t begin = position(l);
  batch_.adopt(*l.sequence, l.tokens);
  note_adopted(l, begin);
}

/// Counts what it has not read itself before.
void Scheduler::note_adopted(Line& l, std::size_t begin) {
  const std::size_t end = position(l), from = std::max(begin, l.reached);
  if (end <= from) return;
  if (l.generated == 0) l.job->usage.cached += end - from;
  l.reached = end;
}

void Scheduler::put_back(Lines::iterator line) {
  batch_.close(*line->sequence);
  line->sequence.reset();
  waiting_.splice(after(waiting_, *line), running_, line);
  ++preempted_;
}

// ---- Choosing -------------------------------------------------------------------------------------------------------

/// What the next step reads, of lines that there are pages for.
void Scheduler::choose() {
  for (;;) {
    choose_rows();
    std::size_t wanted = 0;
    for (const Chosen& c : chosen_) wanted += batch_.pages_wanted(*c.line->sequence, c.rows);
    if (wanted <= batch_.pages_free() || running_.size() == 1) return;
    put_back(std::prev(running_.end()));
  }
}

void Scheduler::choose_rows() {
  chosen_.clear();
  rows_written_ = rows_read_ = 0;
  for (Line& l : running_) {
    if (l.failures == 0) continue;
    chosen_.push_back({&l, std::min(left(l), batch_.max_rows())});  // alone: does it fail again?
    rows_read_ = chosen_.back().rows;
    return;
  }
  std::vector<Line*> readers;
  for (Line& l : running_) {
    if (left(l) > 1) adopt(l);
    if (left(l) > 1) readers.push_back(&l);
    else chosen_.push_back({&l, 1});
  }
  rows_written_ = chosen_.size();
  if (readers.empty()) return;
  const std::size_t room = batch_.max_rows() - rows_written_;
  read_prompts(std::move(readers), rows_written_ == 0 ? room : std::min(room, pace_.prompt_rows(rows_written_)));
}

/// Gives rows to those that read: see Scheduler.
void Scheduler::read_prompts(std::vector<Line*> readers, std::size_t rows) {
  const auto give = [&](Line& l, std::size_t most) {
    const auto mine = std::find_if(chosen_.begin(), chosen_.end(), [&](const Chosen& c) { return c.line == &l; });
    const std::size_t has = mine == chosen_.end() ? 0 : mine->rows,
                      n = rows_at_once(l, has, std::min(most, left(l) - has));
    if (n == 0 || (has == 0 && waits_for_page(l))) return;
    if (has > 0) mine->rows += n;
    else chosen_.push_back({&l, n});
    rows -= n;
    rows_read_ += n;
  };
  give(*readers.front(), (rows + 1) / 2);
  std::stable_sort(readers.begin(), readers.end(), [&](const Line* a, const Line* b) { return left(*a) < left(*b); });
  for (Line* l : readers) give(*l, rows);
}

/// Of n more rows, those up to the last page's end, if they reach one: there a state is kept that others may go on from.
std::size_t Scheduler::rows_at_once(const Line& l, std::size_t chosen, std::size_t n) const {
  if (!batch_.has_slots()) return n;
  const std::size_t begin = position(l) + chosen, end = (begin + n) / batch_.page() * batch_.page();
  return end > begin ? end - begin : n;
}

/// Whether the page that it would read next is one that another line of this step is about to fill.
bool Scheduler::waits_for_page(const Line& l) const {
  const std::size_t begin = position(l), end = begin + batch_.page();
  if (begin % batch_.page() != 0 || l.tokens.size() < end) return false;
  return std::any_of(chosen_.begin(), chosen_.end(), [&](const Chosen& c) {
    const std::vector<std::int32_t>& text = c.line->tokens;
    const std::size_t at = position(*c.line);
    return begin <= at && at < end && text.size() >= end &&
           std::equal(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), l.tokens.begin());
  });
}

// ---- Running --------------------------------------------------------------------------------------------------------

void Scheduler::run() {
  std::vector<Batch::Part> parts;
  for (const auto& [line, rows] : chosen_) {
    const std::span<const std::int32_t> tokens = std::span(line->tokens).subspan(position(*line), rows);
    parts.push_back({*line->sequence, tokens, rows == left(*line) ? Batch::Want::last : Batch::Want::none});
  }
  auto outcome = batch_.step(parts);
  if (!outcome) {
    for (const Chosen& c : chosen_) {
      if (++c.line->failures > 1 && chosen_.size() == 1) end(*c.line, {}, outcome.error());
    }
    return chosen_.clear();
  }
  ran_ = true;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Line& l = *chosen_[i].line;
    Batch::Logits& logits = (*outcome)[i];
    l.failures = 0;
    l.reached = std::max(l.reached, position(l));
    if (!logits) end(l, {}, std::move(logits.error()));
    else if (parts[i].want == Batch::Want::last) go_on(l, *logits);
  }
  chosen_.clear();
}

/// A line has read all its tokens.
void Scheduler::go_on(Line& first, std::span<float> logits) {
  if (first.others.empty() || first.job->options.max_tokens == 0) return next_token(first, logits);
  std::vector<Line*> lines{&first};
  for (Sampler& sampler : first.others) {
    Line l{
        .job = first.job, .choice = lines.size(), .tokens = first.tokens, .sampler = std::move(sampler), .others = {}};
    l.reached = first.reached;
    const auto place = after(running_, l);
    l.sequence = got(batch_.fork(*first.sequence));
    lines.push_back(&*running_.insert(place, std::move(l)));
  }
  first.others.clear();
  const std::vector<float> kept(logits.begin(), logits.end());  // a sampler changes them
  for (Line* l : lines) {
    std::ranges::copy(kept, logits.begin());
    next_token(*l, logits);
  }
}

/// As generate() does it.
void Scheduler::next_token(Line& l, std::span<float> logits) {
  const GenerateOptions& o = l.job->options;
  if (o.max_tokens == 0) return end(l, FinishReason::length);
  auto token = l.sampler.sample(logits, l.tokens);
  if (!token) return end(l, {}, std::move(token.error()));
  ++l.generated;
  ++l.job->usage.completion;
  if (std::ranges::find(o.stop_ids, *token) != o.stop_ids.end()) return end(l, FinishReason::stop);
  l.tokens.push_back(*token);
  events_.push_back({.request = l.job->id, .choice = l.choice, .token = *token, .usage = l.job->usage});
  if (l.generated == o.max_tokens) return end(l, FinishReason::length);
  if (l.tokens.size() > batch_.context()) return end(l, FinishReason::context);
}

/// The end of a line, and of all that would have forked off it.
void Scheduler::end(Line& l, std::optional<FinishReason> finish, std::optional<Error> error) {
  Shared& job = *l.job;
  const std::size_t ended = 1 + l.others.size();
  for (std::size_t i = 0; i < ended; ++i)
    events_.push_back(
        {.request = job.id, .choice = l.choice + i, .finish = finish, .error = error, .usage = job.usage});
  if (l.sequence) batch_.close(*l.sequence);
  Lines& lines = l.sequence ? running_ : waiting_;
  lines.erase(std::ranges::find_if(lines, [&](const Line& other) { return &other == &l; }));
  job.open -= ended;
  if (job.open == 0) jobs_.erase(job.id);
}

}  // namespace halyard::engine
