// A folder with config.json, weights and tokenizer, as Hugging Face and MLX lay it out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/io/safetensors.h"

namespace halyard {

class ConfigView;  // io/config.h

/// How a weight matrix is quantised. affine: bits 2, 3, 4, 5, 6 or 8 in groups of 32, 64 or 128; mxfp4: 4 in 32; mxfp8: 8
/// in 32; nvfp4: 4 in 16.
struct QuantConfig {
  int bits = 4;
  int group_size = 64;  ///< weights that share a scale
  std::string mode = "affine";
  friend bool operator==(const QuantConfig&, const QuantConfig&) = default;
};

/// A file that may be there.
struct ModelFile {
  std::string path;
  bool present = false;
};

/// The folder that `path` means: the snapshot where it is the root of a model in the Hub's cache, else `path`.
Result<std::string> model_folder(const std::string& path);

/// A model directory, read and checked as far as that needs no knowledge of the architecture. Copies share the contents.
class ModelDir {
 public:
  /// Opens the folder at `path`, or its snapshot (model_folder). Weights are those of model.safetensors where an index
  /// stands beside it, else those of all model*.safetensors and of what else the index names; of a tensor in several files
  /// the one counts that the index means. Tensors stay on disk until touched. Errors name the file at fault; a `.gguf` file is unsupported.
  static Result<ModelDir> open(const std::string& path);

  const std::string& path() const;
  /// config.json.
  ConfigView config() const;
  /// generation_config.json, or none.
  std::optional<ConfigView> generation_config() const;
  const ModelFile& tokenizer() const;         ///< tokenizer.json
  const ModelFile& tokenizer_config() const;  ///< tokenizer_config.json
  const ModelFile& chat_template() const;     ///< chat_template.jinja

  /// All tensors of all shards, sorted by name.
  std::span<const Tensor> tensors() const;
  /// The tensor of this name, or null.
  const Tensor* find(std::string_view name) const { return find_tensor(tensors(), name); }
  /// The weight files, sorted.
  std::span<const MappedFile> weight_files() const;
  /// Bytes of all tensors.
  std::uint64_t weight_bytes() const;
  /// An error where a weight file has become shorter since it was opened: touching its tensors would end the process.
  Result<void> check_sizes() const;
  /// Asks the operating system to read the weights ahead.
  void prefetch() const;

  /// The quantisation of all layers without an override of their own, from "quantization" or MLX's "quantization_config".
  const std::optional<QuantConfig>& quantization() const;
  /// How "model.layers.0.mlp.down_proj" is quantised, or nothing. Its own override in the config decides; a layer without
  /// one is quantised as all are, provided that "….scales" is among the tensors (norms and skipped layers have none).
  Result<std::optional<QuantConfig>> quantization_of(std::string_view weight_base_name) const;
  /// True where the config names this layer itself, rather than all layers.
  bool has_quantization_override(std::string_view weight_base_name) const;

 private:
  struct Contents;
  static Result<void> load_weights(Contents&);
  static Result<void> load_quantization(Contents&);
  explicit ModelDir(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}
  std::shared_ptr<const Contents> contents_;
};

}  // namespace halyard
