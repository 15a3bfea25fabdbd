// One step of a model, written as formulas over values: x = s.rms_norm(h, norm); q = s.multiply(x, wq); …
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/models/weights.h"
#include "halyard/ops/attention/attention.h"
#include "halyard/ops/elementwise/elementwise.h"
#include "halyard/ops/rope/rope.h"
#include "halyard/ops/ssd/ssd.h"

namespace halyard::models {

/// What a layer keeps of the past: pages of positions, slots of whole texts, both, or nothing.
struct LayerSpec {
  std::size_t kv_heads = 0, head_dim = 0;  ///< of each position a key and a value; 0: none
  std::vector<Shape> slot = {};            ///< of each sequence tensors of f32
};

/// Its memory.
struct LayerState {
  Buffer k, v;               ///< f32 or f16 [pages, kv_heads, page, head_dim]
  std::vector<Buffer> slot;  ///< f32 [slots, …], one for each of the spec's
};

/// What a step's kernels are told: T rows of S sequences, of which the logits of W are wanted. Whose they are and where their
/// past lies is data, so that a recording serves every step of its shape. T, S and W may count rows of no sequence, whose
/// slot is -1 and whose logits mean nothing.
struct StepTensors {
  Buffer tokens;       ///< i32 [T]
  Buffer positions;    ///< i32 [T]: where in its text each token stands
  Buffer slots;        ///< i32 [T]: where each token's keys and values go
  ops::KvBatch batch;  ///< S spans
  /// The rows whose logits are wanted, where those are some: i32 [W]. Null: all rows, or without `logits` none.
  Buffer wanted;
  Buffer wanted_positions;            ///< i32 [W]: theirs
  ops::KvBatch wanted_batch;          ///< W spans, each of one row of W
  Buffer slot_from, slot_to;          ///< i32 [S]: see ops::SlotBatch; -1 where there are no slots
  std::span<const LayerState> cache;  ///< one for each layer
  Buffer logits;                      ///< f32 [W, V]; null: none
};

/// f32 [rows, width]. A value has no memory until its step is planned; it is a cheap handle, and good only in its step.
class Value {
 public:
  Value() = default;
  std::size_t rows() const { return memory_ ? memory_.shape()[0] : 0; }
  std::size_t width() const { return memory_ ? memory_.shape()[1] : 0; }

 private:
  friend class Step;
  Buffer memory_;
  std::pair<std::size_t, std::size_t> id_;  // of its memory, and how often that had been added to
  bool of_wanted_ = false;                  // its rows are the wanted ones
};

/// The gated feed-forward blocks of a layer's experts, each matrix for all of them.
struct Experts {
  ops::Weight gate, up, down;
};

/// How a family turns its heads. See ops::rope_frequencies and ops::rope.
struct Rope {
  Buffer inv_freq;  ///< f64 [n_rot / 2]
  float attention_factor = 1;
  ops::RopeLayout layout = ops::RopeLayout::half_split;
};

/// What records a step. The first error is kept: all later calls do nothing, and status() says what it was.
class Step {
 public:
  /// `e` is capturing.
  Step(CommandEncoder& e, const StepTensors& t) : encoder_(e), device_(e.device()), tensors_(t) {}
  Step(const Step&) = delete;

  /// The rows of the tokens: [T, k].
  Value embed(const ops::Weight&);
  /// x · weightᵀ + bias. A value is packed once, however many weights want it so.
  Value multiply(const Value& x, const Linear&);
  /// Of rows, or of the heads whose width the weight has.
  Value rms_norm(const Value& x, const Buffer& weight, float eps);
  /// a + b, which takes a's place: `a` is not to be used again. Where one has only the wanted rows, so has the sum.
  Value add(const Value& a, const Value& b);
  Value silu_mul(const Value& gate, const Value& up);
  Value gelu_mul(const Value& gate, const Value& up, ops::Gelu);
  Value scale(const Value& x, float factor);
  /// Every head turned by its row's position.
  Value rope(const Value& x, std::size_t head_dim, const Rope&);
  /// Keys and values, of all rows, are kept in the layer's cache; q, of all rows or of the wanted ones, attends to it.
  Value attention(std::size_t layer, const Value& q, const Value& k, const Value& v, const ops::AttentionOptions&);

  /// Of the layer's slot, part `part`; all rows. See ops::causal_conv and ops::ssd.
  Value causal_conv(std::size_t layer, std::size_t part, const Value& x, const Buffer& weight, const Buffer& bias);
  Value ssd(std::size_t layer, std::size_t part, const Value& xbc, const Value& dt, const Buffer& a, const Buffer& d,
            const Buffer& dt_bias, const ops::SsdOptions&);
  /// Σ of the k experts that the router thinks most of, each down(silu(gate(x)) · up(x)), by its share.
  Value mixture(const Value& x, const Linear& router, const Experts&, std::size_t k, bool normalise);
  Value gated_norm(const Value& x, const Value& gate, const Buffer& weight, float eps, std::size_t groups);

  /// Those rows of x for which the layer must find more than what it keeps of them: in the last layer the wanted ones.
  Value asked(std::size_t layer, const Value& x);
  /// The wanted rows.
  Value wanted(const Value& x);
  /// The step's logits. Nothing where none are wanted.
  void logits(const Value& x, const Linear& head);

  const Result<void>& status() const { return status_; }

 private:
  Value value(std::size_t rows, std::size_t width, bool of_wanted);
  Value like(const Value& x) { return value(x.rows(), x.width(), x.of_wanted_); }
  Buffer at(const Value&);
  Buffer heads(const Value&, std::size_t head_dim);
  ops::Activations activations(const Value&, const ops::Weight&);
  Value multiply_experts(const Value&, const ops::Weight&, const Buffer& starts);
  Buffer temporary(DType, Shape);
  Buffer angles(bool of_wanted, const Rope&);
  ops::SlotBatch slots() const { return {tensors_.batch.spans, tensors_.slot_from, tensors_.slot_to}; }
  bool some_are_wanted() const { return static_cast<bool>(tensors_.wanted); }
  void did(Result<void> r) {
    if (status_ && !r) status_ = std::move(r);
  }
  template <class T> T got(Result<T> r) {
    if (r) return std::move(*r);
    if (status_) status_ = tl::unexpected(std::move(r).error());
    return T();
  }

  CommandEncoder& encoder_;
  Device device_;
  const StepTensors& tensors_;
  Result<void> status_;
  using Id = std::pair<std::size_t, std::size_t>;
  std::vector<std::size_t> added_to_;  // of each value's memory: how often
  std::map<Id, Buffer> packed_;        // of values that were
  std::map<Id, Value> wanted_;
  std::map<std::pair<const void*, bool>, Buffer> angles_;  // of a rope's frequencies
};

}  // namespace halyard::models
