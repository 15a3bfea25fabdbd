// What is asked of an engine, and what comes of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/engine/sampler.h"

namespace halyard::engine {

struct GenerateOptions {
  std::size_t max_tokens = 100;
  SamplerOptions sampling = {};
  std::vector<std::int32_t> stop_ids = {};  ///< tokens that end the text; they are not handed on
};

enum class FinishReason : std::uint8_t {
  length,     ///< max_tokens
  stop,       ///< one of stop_ids
  context,    ///< the model's context is full
  cancelled,  ///< the caller asked to stop
};
std::string_view to_string(FinishReason);

/// A prompt to be continued.
struct Request {
  std::vector<std::int32_t> prompt;
  GenerateOptions options = {};
  std::size_t n = 1;  ///< completions; with a seed, the i-th draws with seed + i
};

/// Tokens of a request.
struct Usage {
  std::size_t prompt = 0;
  std::size_t cached = 0;      ///< of the prompt, taken over from what had been read before
  std::size_t completion = 0;  ///< of all completions; one that ends a text counts
};

/// A completion got a token, or came to its end.
struct Event {
  std::uint64_t request = 0;
  std::size_t choice = 0;  ///< which of n
  std::optional<std::int32_t> token = {};
  std::optional<FinishReason> finish = {};  ///< how it ended, where it did
  std::optional<Error> error = {};          ///< or why it failed
  Usage usage = {};                         ///< of the request so far
};

}  // namespace halyard::engine
