// A scheduler that runs a few small threads in every order in which their steps can come: of a protocol between threads, all
// that can happen under sequential consistency.
//
// Threads are coroutines of one real thread. A step is one operation on a Model atomic or mutex; the scheduler chooses whose
// is next. A run is repeated from its start with another choice at the last point that has one left, and cut short where it
// comes to a state that an earlier run has been in: the values of all variables, and what each thread has seen so far.
#pragma once

#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace halyard::testing {

class Interleavings {
 public:
  /// As StdSync. Variables are made by a scenario's constructor, and used by its threads alone.
  struct Sync {
    template <class T> class Atomic;
    class Mutex;
  };

  /// Runs a `Scenario` in all interleavings: made anew for each run, `Scenario::threads` calls of run(i) at once, and then
  /// wrong(), which says what is wrong with the outcome, or nothing. Returns the first thing wrong; a hang is one.
  template <class Scenario> std::string explore() {
    making = this;
    do {
      variables_.clear();
      Scenario scenario;
      if (run(Scenario::threads, &scenario, [](void* s, int i) { static_cast<Scenario*>(s)->run(i); }))
        if (std::string wrong = hangs_ ? "a hang" : scenario.wrong(); !wrong.empty()) return wrong;
    } while (next_choices());
    return {};
  }
  std::size_t states() const { return seen_.size(); }

 private:
  static constexpr std::size_t most_threads = 5, stack_bytes = 128 << 10;
  using Body = void (*)(void*, int);
  struct Thread {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(stack_bytes);
    const std::uint64_t* blocked_while = nullptr;  // this is `blocked_on`
    std::uint64_t blocked_on = 0;
    std::uint64_t history = 0;  // a hash of what it has seen
    bool over = true;
    void* tsan = nullptr;
  };
  struct Choice {
    std::vector<int> open;  // threads that could go on; the last one does
  };

  static void mix(std::uint64_t& hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 29;
  }
  bool runnable(const Thread& t) const { return !t.over && (!t.blocked_while || *t.blocked_while != t.blocked_on); }

  void prepare(Thread& t) {
    getcontext(&t.context);
    t.context.uc_stack.ss_sp = t.stack.data();
    t.context.uc_stack.ss_size = t.stack.size();
    t.context.uc_link = &scheduler_;
    makecontext(&t.context, enter, 0);
  }

  // False: it came to a state that was seen before.
  bool run(int n, void* scenario, Body body) {
    scenario_ = scenario;
    body_ = body;
    hangs_ = false;
    for (int i = 0; i < n; ++i) {
      Thread& t = threads_[i];
      t.blocked_while = nullptr;
      mix(t.history = 1, static_cast<std::uint64_t>(i));
      t.over = false;
      prepare(t);
#if defined(__SANITIZE_THREAD__)
      t.tsan = __tsan_create_fiber(0);
#endif
    }
    world = this;
    for (int i = 0; i < n; ++i) switch_to(i);  // to before its first step
    const bool whole = go_on(n);
    world = nullptr;
#if defined(__SANITIZE_THREAD__)
    for (int i = 0; i < n; ++i) __tsan_destroy_fiber(threads_[i].tsan);
#endif
    return whole;
  }
  bool go_on(int n) {
    for (std::size_t step = 0;; ++step) {
      std::vector<int> open;
      bool over = true;
      for (int i = 0; i < n; ++i) {
        over &= threads_[i].over;
        if (runnable(threads_[i])) open.push_back(i);
      }
      if (open.empty()) return hangs_ = !over, true;
      if (step == choices_.size()) {
        if (!seen_.insert(state(n)).second) return false;
        choices_.push_back({std::move(open)});
      }
      switch_to(choices_[step].open.back());
    }
  }
  std::uint64_t state(int n) const {
    std::uint64_t hash = 0;
    for (const std::uint64_t* v : variables_) mix(hash, *v);
    for (int i = 0; i < n; ++i) mix(hash, threads_[i].history + (threads_[i].over ? 1 : 0));
    return hash;
  }
  bool next_choices() {
    while (!choices_.empty() && choices_.back().open.size() == 1) choices_.pop_back();
    if (choices_.empty()) return false;
    choices_.back().open.pop_back();
    return true;
  }

  void switch_to(int thread) {
    current_ = thread;
    threads_[thread].blocked_while = nullptr;
#if defined(__SANITIZE_THREAD__)
    tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(threads_[thread].tsan, 0);
#endif
    swapcontext(&scheduler_, &threads_[thread].context);
  }
  void switch_back() {
    Thread& t = threads_[current_];
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(tsan_, 0);
#endif
    if (t.over) setcontext(&scheduler_);
    swapcontext(&t.context, &scheduler_);
  }
  static void enter() {
    Interleavings& w = *world;
    w.body_(w.scenario_, w.current_);
    w.threads_[w.current_].over = true;
    w.switch_back();
  }

  // Called by threads. Outside of a run, by constructors, nothing comes between.
  static void step() {
    if (world) world->switch_back();
  }
  static void block_while(const std::uint64_t& variable, std::uint64_t is) {
    Thread& t = world->threads_[world->current_];
    t.blocked_while = &variable;
    t.blocked_on = is;
    world->switch_back();
  }
  static void saw(std::uint64_t value) {
    if (world) mix(world->threads_[world->current_].history, value + 1);
  }
  // One word of what there is, part of the state.
  struct Variable {
    std::uint64_t now;
    explicit Variable(std::uint64_t v) : now(v) { making->variables_.push_back(&now); }
    Variable(const Variable&) = delete;
  };

  static inline Interleavings *world = nullptr, *making = nullptr;
  std::array<Thread, most_threads> threads_;
  std::vector<const std::uint64_t*> variables_;
  std::vector<Choice> choices_;
  std::unordered_set<std::uint64_t> seen_;
  ucontext_t scheduler_;
  void* scenario_ = nullptr;
  Body body_ = nullptr;
  int current_ = 0;
  bool hangs_ = false;
  void* tsan_ = nullptr;
};

template <class T> class Interleavings::Sync::Atomic {
 public:
  Atomic(T v = {}) : value_(static_cast<std::uint64_t>(v)), woken_(0) {}
  T load(std::memory_order = {}) const { return step(), look(); }
  void store(T v, std::memory_order = {}) { step(), saw(0), set(v); }
  T fetch_add(T n, std::memory_order = {}) {
    step();
    const T before = look();
    set(static_cast<T>(before + n));
    return before;
  }
  T fetch_sub(T n, std::memory_order order = {}) { return fetch_add(static_cast<T>(-n), order); }
  bool compare_exchange_strong(T& expected, T wanted, std::memory_order = {}) {
    step();
    const T before = look();
    if (before != expected) return expected = before, false;
    return set(wanted), true;
  }
  void wait(T old, std::memory_order = {}) const {
    step();
    while (look() == old) saw(woken_.now), block_while(woken_.now, woken_.now);
  }
  void notify_all() { step(), saw(0), ++woken_.now; }

 private:
  static void saw(std::uint64_t v) { Interleavings::saw(v); }
  T look() const {
    saw(value_.now);
    return static_cast<T>(value_.now);
  }
  void set(T v) { value_.now = static_cast<std::uint64_t>(v); }
  Variable value_, woken_;
};

class Interleavings::Sync::Mutex {
 public:
  void lock() {
    step();
    while (locked_.now) block_while(locked_.now, 1);
    locked_.now = 1;
    saw(++turn_.now);  // what it guards is known from the order of turns
  }
  void unlock() { step(), saw(0), locked_.now = 0; }

 private:
  Variable locked_{0}, turn_{0};
};

}  // namespace halyard::testing
