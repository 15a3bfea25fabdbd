// A model: named weights, and the recipe that turns a chunk of tokens into logits with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/hal/passes.h"
#include "halyard/io/model_dir.h"
#include "halyard/models/weights.h"
#include "halyard/ops/attention/attention.h"
#include "halyard/ops/matmul/matmul.h"

namespace halyard::models {

/// Pages of one layer's keys and values: f32 or f16 [pages, kv_heads, page, head_dim].
struct LayerKv {
  Buffer k, v;
};

/// What one layer needs kept of each position.
struct LayerKvShape {
  std::size_t kv_heads = 0, head_dim = 0;
};

/// The sizes of a model that its user needs to know.
struct ModelInfo {
  std::string model_type;      ///< "llama"
  std::size_t vocab_size = 0;  ///< columns of the logits, rows of the embedding
  std::size_t hidden_size = 0;
  std::size_t max_positions = 0;  ///< the context it was made for
  std::vector<LayerKvShape> layers;
};

/// One forward pass over T tokens. Whose they are and where their past lies is data: see ops::KvBatch.
struct Chunk {
  Buffer tokens;                   ///< i32 [T]
  Buffer positions;                ///< i32 [T]: where in its text each token stands
  Buffer slots;                    ///< i32 [T]: where each token's keys and values go
  ops::KvBatch batch;
  std::span<const LayerKv> cache;  ///< one for each layer
  Buffer wanted;                   ///< i32 [n]: the rows whose logits are wanted; null: as `logits` says
  Buffer logits;                   ///< f32 [n, V]; without `wanted` [T, V]: of all rows, [1, V]: of the last; null: none
};

/// Called before each layer is recorded: the encoder to record it into. Where a caller cuts the work into stages.
using NextEncoder = std::function<Result<CommandEncoder*>(std::size_t layer)>;

/// Scratch memory of a recipe, allocated once for the longest chunk. One sequence uses one at a time.
class Workspace {
 public:
  virtual ~Workspace() = default;
  /// All its buffers. A chunk's recording finds nothing in them and leaves nothing there.
  virtual Scratch scratch() const = 0;
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Buffer& b : scratch().windows) sum += b.size_bytes();
    return sum;
  }
};

/// A family's recipe. Each family is one file that makes one of these from a config, and one line in registry.cc.
class Recipe {
 public:
  virtual ~Recipe() = default;
  virtual const ModelInfo& info() const = 0;
  /// Takes the weights by name. Without a device it only checks that they are there and have the right shapes.
  virtual Result<void> load(Weights&) = 0;
  virtual Result<std::unique_ptr<Workspace>> workspace(Device, std::size_t max_chunk) const = 0;
  /// Records one chunk of at most max_chunk tokens.
  virtual Result<void> record(const NextEncoder&, Workspace&, const Chunk&) const = 0;
};

/// Called while weights are loaded: bytes so far, bytes in all.
using Progress = std::function<void(std::size_t done, std::size_t total)>;

/// A loaded model: a cheap shared handle, safe to use from several threads, each with its own workspace and cache.
class Model {
 public:
  /// Loads the weights of `dir` onto `device`. Errors name the file, and the field or tensor, that is at fault.
  static Result<Model> load(Device, const ModelDir& dir, ops::Precision, const Progress& = {});
  /// The same with weights from elsewhere.
  static Result<Model> load(Device, const ConfigView&, WeightSource&, ops::Precision, const Progress& = {});

  const ModelInfo& info() const { return recipe_->info(); }
  ops::Precision precision() const { return precision_; }
  const Device& device() const { return device_; }
  const WeightTotals& totals() const { return totals_; }

  Result<std::unique_ptr<Workspace>> workspace(std::size_t max_chunk) const;
  Result<void> record(const NextEncoder& next, Workspace& w, const Chunk& c) const {
    return recipe_->record(next, w, c);
  }

 private:
  Model(Device device, ops::Precision precision, std::shared_ptr<const Recipe> recipe, WeightTotals totals)
      : device_(std::move(device)), precision_(precision), recipe_(std::move(recipe)), totals_(totals) {}
  Device device_;
  ops::Precision precision_;
  std::shared_ptr<const Recipe> recipe_;
  WeightTotals totals_;
};

}  // namespace halyard::models
