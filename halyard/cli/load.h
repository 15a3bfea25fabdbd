// Loading a model for a command, with a progress bar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "halyard/base/file.h"
#include "halyard/cli/app.h"
#include "halyard/cli/options.h"
#include "halyard/engine/generator.h"
#include "halyard/engine/text_model.h"
#include "halyard/io/model_dir.h"
#include "halyard/models/model.h"

namespace halyard::cli {

/// What of a model's text side a command needs.
enum class Text : std::uint8_t { none, tokens, chat };

struct LoadedModel {
  ModelDir dir;
  std::optional<engine::TextModel> text;  ///< unless Text::none
  models::Model model;
};

/// Opens the model that the flags name. Without text it needs no tokenizer.json.
Result<LoadedModel> load(const ModelOptions&, const DeviceFlags&, Text);

/// Opens the device that the flags name.
Result<Device> open_device(const DeviceFlags&);

/// Begins a file that a command will write, before its work. One of the model's files, or the one on standard input, is not
/// replaced.
Result<FileWriter> open_output(const std::string& path, const std::string& model);

/// `text`, or all of standard input where it is "-".
Result<std::string> text_or_input(Context&, const std::string& text);

/// What --max-kv-size means: any size, but positions are 32-bit, so that a larger window never fills.
std::size_t window_size(std::int64_t given);

/// A generation's outcome; where the text was too long, its error says which flag helps. For commands with --max-kv-size.
Result<engine::GenerateStats> with_advice(Result<engine::GenerateStats>);

/// The most memory the process has had resident, mapped weights included; 0 where the system does not say.
std::size_t peak_resident_bytes();

/// "pinned 0 B of 16.5 MB: why, and what to do"; empty where the device has pinned all it wanted to.
std::string pin_note(const Residency&);

/// "16.5 MB": bytes in powers of ten, as mlx-lm prints memory.
std::string human_bytes(std::size_t bytes);

}  // namespace halyard::cli
