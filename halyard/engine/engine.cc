#include "halyard/engine/engine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/engine/scheduler.h"

namespace halyard::engine {
namespace {

/// Positions that take no memory but their tokens'.
constexpr std::size_t kMostBooked = std::size_t{1} << 20;

/// What other threads want of the worker. Outlives it, for streams that do.
struct Mail {
  struct Arrival {
    Scheduler::Job job;
    std::shared_ptr<void> stream;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Arrival> arrivals;
  bool cancelled = false;  // some stream was
  bool stop = false;
};

}  // namespace

struct Stream::State {
  State(std::size_t n, std::shared_ptr<Mail> m) : ended(n), open(n), mail(std::move(m)) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Event> events;
  std::vector<bool> ended;   // of each completion, as far as `next` has told
  std::size_t open;          // completions that have not
  std::optional<Errc> over;  // nothing more will come: why
  bool cancelled = false;    // guarded by the mail's mutex
  std::shared_ptr<Mail> mail;

  void deliver(Event e) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(e));
    changed.notify_all();
  }
  void end(Errc why) {
    const std::lock_guard lock(mutex);
    over = why;
    changed.notify_all();
  }
  /// The end of a completion that the worker had no event for.
  Event ending() {
    Event e;
    while (ended[e.choice]) ++e.choice;
    if (*over == Errc::cancelled) e.finish = FinishReason::cancelled;
    else e.error = Error{*over, if_memory([] { return std::string("the engine failed"); }), {}};
    return e;
  }
};

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this == &other) return *this;
  cancel();
  state_ = std::move(other.state_);
  return *this;
}

Stream::~Stream() { cancel(); }

std::optional<Event> Stream::next() {
  if (!state_) return std::nullopt;
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.open == 0) return std::nullopt;
  s.changed.wait(lock, [&] { return !s.events.empty() || s.over; });
  Event e = s.events.empty() ? s.ending() : std::move(s.events.front());
  if (!s.events.empty()) s.events.pop_front();
  if (e.finish || e.error) {
    s.ended[e.choice] = true;
    --s.open;
  }
  return e;
}

void Stream::cancel() {
  if (!state_) return;
  Mail& mail = *state_->mail;
  const std::lock_guard lock(mail.mutex);
  state_->cancelled = mail.cancelled = true;
  mail.changed.notify_one();
}

struct Engine::Worker {
  explicit Worker(Scheduler s) : scheduler(std::move(s)) {}
  ~Worker() {
    if (!thread.joinable()) return;
    {
      const std::lock_guard lock(mail->mutex);
      mail->stop = true;
      mail->changed.notify_one();
    }
    thread.join();
  }

  using Arrivals = std::vector<Mail::Arrival>;  // a deque asks for memory when it is made
  using Streams = std::map<Scheduler::Id, std::shared_ptr<Stream::State>>;

  void work() {
    for (Arrivals arrivals; wait_for_mail(arrivals); arrivals.clear()) {
      Result<void> done;
      try {
        done = guarded([&] { return step(arrivals); });
      } catch (const std::exception& e) {  // a defect
        done = fail(Errc::internal, e.what());
      }
      if (!done) end_all(arrivals, done.error().code);
    }
    Arrivals late;
    {
      const std::lock_guard lock(mail->mutex);
      late.swap(mail->arrivals);
    }
    end_all(late, Errc::cancelled);
  }

  /// False: it is to stop.
  bool wait_for_mail(Arrivals& arrivals) {
    std::unique_lock lock(mail->mutex);
    mail->changed.wait(
        lock, [&] { return mail->stop || mail->cancelled || !mail->arrivals.empty() || !scheduler.is_idle(); });
    if (mail->stop) return false;
    arrivals.swap(mail->arrivals);
    // With the arrivals: who is cancelled from here on, one that arrives now included, is for the next step.
    look_for_cancelled = std::exchange(mail->cancelled, false);
    return true;
  }

  Result<void> step(Arrivals& arrivals) {
    for (Mail::Arrival& a : arrivals)
      streams.emplace(scheduler.add(std::move(a.job)), std::static_pointer_cast<Stream::State>(a.stream));
    cancel_some();
    const auto start = std::chrono::steady_clock::now();
    std::vector<Event> events = scheduler.step();
    scheduler.took(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    for (Event& e : events) {
      const auto stream = streams.find(e.request);
      if (stream != streams.end()) stream->second->deliver(std::move(e));
    }
    std::erase_if(streams, [&](const auto& s) { return !scheduler.has(s.first); });
    return {};
  }

  void cancel_some() {
    if (!look_for_cancelled) return;
    std::vector<Scheduler::Id> gone;
    {
      const std::lock_guard lock(mail->mutex);
      for (const auto& [id, stream] : streams)
        if (stream->cancelled) gone.push_back(id);
    }
    for (const Scheduler::Id id : gone) scheduler.cancel(id);
  }

  /// Where the bookkeeping itself fails, nothing that is under way can go on; what comes later can.
  void end_all(Arrivals& arrivals, Errc why) {
    scheduler.clear();
    for (const auto& [id, stream] : streams) stream->end(why);
    streams.clear();
    for (const Mail::Arrival& a : arrivals) std::static_pointer_cast<Stream::State>(a.stream)->end(why);
  }

  Scheduler scheduler;
  std::shared_ptr<Mail> mail = std::make_shared<Mail>();
  Streams streams;
  bool look_for_cancelled = false;  // in this step; one that fails ends all streams
  std::thread thread;
};

Engine::Engine(std::unique_ptr<Worker> worker) : worker_(std::move(worker)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<Engine> Engine::make(models::Model model, EngineOptions o) {
  return guarded([&]() -> Result<Engine> {
    const models::ModelInfo& info = model.info();
    BatchOptions b{o.positions, o.context, o.max_rows, o.max_sequences};
    if (b.positions == 0) b.positions = o.context != 0 ? o.context : info.max_positions;
    if (!has_pages(info.layers)) b.positions = std::min(b.positions, kMostBooked);
    Result<Batch> batch = Batch::make(model, b);
    const auto is_short = [&] { return !batch && batch.error().code == Errc::out_of_memory; };
    while (is_short() && o.positions == 0 &&
           (b.positions > o.max_rows || (has_slots(info.layers) && b.sequences > 1))) {
      if (b.positions > o.max_rows) b.positions /= 2;
      b.sequences = std::max<std::size_t>(b.sequences / 2, 1);
      batch = Batch::make(model, b);
    }
    auto worker =
        std::make_unique<Worker>(Scheduler(HALYARD_TRY(std::move(batch)), {.max_sequences = o.max_sequences}));
    try {
      worker->thread = std::thread([w = worker.get()] { w->work(); });
    } catch (const std::system_error& e) {
      return fail(Errc::out_of_memory, fmt::format("the engine's thread: {}", e.what()));
    }
    return Engine(std::move(worker));
  });
}

Result<Stream> Engine::submit(Request request) {
  return guarded([&]() -> Result<Stream> {
    if (!worker_) return fail(Errc::invalid_state, "an engine that was moved from");
    Scheduler::Job job = HALYARD_TRY(worker_->scheduler.check(std::move(request)));
    Mail& mail = *worker_->mail;
    auto state = std::make_shared<Stream::State>(job.samplers.size(), worker_->mail);
    const std::lock_guard lock(mail.mutex);
    mail.arrivals.push_back({std::move(job), state});
    mail.changed.notify_one();
    return Stream(std::move(state));
  });
}

}  // namespace halyard::engine
