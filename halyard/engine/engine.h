// Many requests to one model at once, from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "halyard/engine/request.h"
#include "halyard/models/model.h"

namespace halyard::engine {

struct EngineOptions {
  /// Positions of keys and values that all texts hold together. 0: those of the model's context, or the half, quarter … there
  /// is memory for.
  std::size_t positions = 0;
  std::size_t context = 0;     ///< the most that one text holds; 0: the model's context
  std::size_t max_rows = 512;  ///< tokens of one step
  /// Completions that are under way at once; more wait. Fewer, where layers keep state in slots and there is no memory.
  std::size_t max_sequences = 64;
};

/// What comes of one request. One thread may read while another cancels; destroying it cancels.
class Stream {
 public:
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  /// What happened next, waiting for it. Each completion's events come in order, the last of them with `finish` or `error`.
  /// No value where all have ended.
  std::optional<Event> next();
  /// What is under way ends within a step, as FinishReason::cancelled.
  void cancel();

 private:
  friend class Engine;
  struct State;
  explicit Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

/// Reads and writes the texts of many requests in common steps, on a thread of its own. A request's tokens are
/// those that it has alone, whatever else is under way. May be used from several threads; destroying it ends what
/// is under way as cancelled, and streams may outlive it.
class Engine {
 public:
  /// Errors: no memory; no thread.
  static Result<Engine> make(models::Model, EngineOptions = {});
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  /// Takes in a request. Errors: what can never be run, and why.
  Result<Stream> submit(Request);

 private:
  struct Worker;
  explicit Engine(std::unique_ptr<Worker>);
  std::unique_ptr<Worker> worker_;
};

}  // namespace halyard::engine
