// Flags that several commands share: plain structs, each with a function that adds it to a command. The structs must
// outlive parsing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "halyard/base/result.h"
#include "halyard/engine/sampler.h"

namespace halyard::cli {

/// --model M
struct ModelOptions {
  std::string model;  ///< a folder or a .gguf file; empty: the model that ships with the program
  void add(CLI::App& command, const std::string& what = "Model folder (MLX or Hugging Face layout) or .gguf file");
  /// `model`, or the default model's path. Fails where neither is there.
  Result<std::string> path() const;
};

/// --device, --threads, --exact
struct DeviceFlags {
  std::string device = "cpu";  ///< "cpu", "cuda:0", "vulkan:0"
  int threads = 0;             ///< CPU threads; 0: one for each core
  bool exact = false;          ///< f32 arithmetic and activations throughout
  bool profile = false;        ///< collect where the time goes; set by commands, not by a flag of all
  void add(CLI::App& command);
};

/// --temp, --top-p and the rest of what chooses a token
struct SamplingFlags {
  SamplerOptions options;
  void add(CLI::App& command);
};

/// --json
struct JsonFlag {
  bool json = false;
  void add(CLI::App& command, const std::string& what = "Print one JSON object instead of text");
};

/// Accepts finite numbers from `low` to `high`, and nothing that is not written as a number.
CLI::Validator real_in(double low, double high);
/// Accepts any text but an empty one.
CLI::Validator given();
/// Adds an option for whole numbers from 0 to `high` with commas between them, all of which must be there.
CLI::Option* add_whole_list(CLI::App&, const std::string& names, std::vector<std::int64_t>& values, std::int64_t high,
                            const std::string& what);
/// Accepts whole decimal numbers from `low` to `high`, without leading zeros.
CLI::Validator whole_in(std::int64_t low, std::int64_t high);

}  // namespace halyard::cli
