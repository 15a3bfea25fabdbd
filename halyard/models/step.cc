#include "halyard/models/step.h"

#include <fmt/format.h>

#include "halyard/ops/ops.h"

namespace halyard::models {

Value Step::value(std::size_t rows, std::size_t width, bool of_wanted) {
  Value v;
  if (!status_) return v;
  v.memory_ = got(device_.placeholder(DType::f32, {rows, width}));
  v.id_ = {added_to_.size(), 0};
  v.of_wanted_ = of_wanted;
  added_to_.push_back(0);
  return v;
}

Buffer Step::at(const Value& v) {
  if (status_ && !v.memory_) did(fail(Errc::invalid_state, "a formula over a value that no formula made"));
  if (status_ && added_to_[v.id_.first] != v.id_.second)
    did(fail(Errc::invalid_state, "a formula over a value whose place a sum has taken"));
  return v.memory_;
}

Buffer Step::heads(const Value& v, std::size_t head_dim) {
  const Buffer b = at(v);
  if (!status_) return {};
  if (head_dim == 0 || v.width() % head_dim != 0) {
    did(fail(Errc::invalid_argument,
             fmt::format("a value {} wide does not divide into heads of {}", v.width(), head_dim)));
    return {};
  }
  return got(b.view(0, DType::f32, {v.rows(), v.width() / head_dim, head_dim}));
}

Value Step::embed(const ops::Weight& table) {
  const Value out = value(tensors_.tokens.shape()[0], table.columns(), false);
  if (status_) did(ops::embedding(encoder_, tensors_.tokens, table, at(out)));
  return out;
}

ops::Activations Step::activations(const Value& x, const ops::Weight& weight) {
  const Buffer from = at(x);
  if (!status_ || !weight.wants_packed()) return {from, {}};
  Buffer& packed = packed_[x.id_];
  if (!packed) {
    packed = got(device_.placeholder(DType::u8, {ops::packed_bytes(x.rows(), x.width())}));
    if (status_) did(ops::pack_activations(encoder_, from, packed));
  }
  return {from, packed};
}

Value Step::multiply(const Value& x, const Linear& l) {
  const ops::Activations a = activations(x, l.weight);
  const Value out = value(x.rows(), l.weight.rows(), x.of_wanted_);
  if (status_) did(ops::matmul(encoder_, a, l.weight, at(out), {.bias = l.bias}));
  return out;
}

Value Step::rms_norm(const Value& x, const Buffer& weight, float eps) {
  const std::size_t width = weight ? weight.shape()[0] : 0;
  const Value out = like(x);
  const Buffer from = heads(x, width), to = heads(out, width);
  if (status_) did(ops::rms_norm(encoder_, from, weight, to, eps));
  return out;
}

Value Step::add(const Value& a, const Value& b) {
  if (a.of_wanted_ != b.of_wanted_) return add(wanted(a), wanted(b));
  const Buffer to = at(a), other = at(b);
  if (status_) did(ops::add(encoder_, to, other, to));
  Value sum = a;
  if (status_) sum.id_.second = ++added_to_[a.id_.first];
  return sum;
}

Value Step::silu_mul(const Value& gate, const Value& up) {
  const Value out = like(gate);
  const Buffer g = at(gate), u = at(up);
  if (status_) did(ops::silu_mul(encoder_, g, u, at(out)));
  return out;
}

Value Step::gelu_mul(const Value& gate, const Value& up, ops::Gelu form) {
  const Value between = like(gate), out = like(gate);
  const Buffer g = at(gate), u = at(up);
  if (status_) did(ops::gelu(encoder_, g, at(between), form));
  if (status_) did(ops::mul(encoder_, at(between), u, at(out)));
  return out;
}

Value Step::scale(const Value& x, float factor) {
  const Value out = like(x);
  const Buffer from = at(x);
  if (status_) did(ops::scale(encoder_, from, factor, at(out)));
  return out;
}

Buffer Step::angles(bool of_wanted, const Rope& r) {
  Buffer& made = angles_[{r.inv_freq.allocation().get(), of_wanted}];
  if (made || !status_) return made;
  const Buffer& positions = of_wanted ? tensors_.wanted_positions : tensors_.positions;
  made = got(device_.placeholder(DType::f32, {positions.shape()[0], r.inv_freq.shape()[0], 2}));
  if (status_) did(ops::rope_angles(encoder_, positions, r.inv_freq, made, r.attention_factor));
  return made;
}

Value Step::rope(const Value& x, std::size_t head_dim, const Rope& r) {
  const Buffer turns = angles(x.of_wanted_, r);
  const Value out = like(x);
  const Buffer from = heads(x, head_dim), to = heads(out, head_dim);
  if (status_) did(ops::rope(encoder_, from, turns, to, r.layout));
  return out;
}

Value Step::attention(std::size_t layer, const Value& q, const Value& k, const Value& v,
                      const ops::AttentionOptions& options) {
  const LayerState& cache = tensors_.cache[layer];
  const std::size_t head_dim = cache.k.shape()[3];
  const Value out = like(q);
  const Buffer keys = heads(k, head_dim), values = heads(v, head_dim), queries = heads(q, head_dim),
               to = heads(out, head_dim);
  if (status_) did(ops::kv_append(encoder_, values, cache.v, tensors_.slots));
  if (status_) did(ops::kv_append(encoder_, keys, cache.k, tensors_.slots));
  if (status_)
    did(ops::attention(encoder_, queries, cache.k, cache.v, to, q.of_wanted_ ? tensors_.wanted_batch : tensors_.batch,
                       options));
  return out;
}

Value Step::causal_conv(std::size_t layer, std::size_t part, const Value& x, const Buffer& weight, const Buffer& bias) {
  const Value out = like(x);
  const Buffer from = at(x);
  if (status_) did(ops::causal_conv(encoder_, from, weight, bias, tensors_.cache[layer].slot[part], at(out), slots()));
  return out;
}

Value Step::ssd(std::size_t layer, std::size_t part, const Value& xbc, const Value& dt, const Buffer& a,
                const Buffer& d, const Buffer& dt_bias, const ops::SsdOptions& options) {
  const Buffer& state = tensors_.cache[layer].slot[part];
  const Value out = value(xbc.rows(), state.shape()[1] * state.shape()[2], false);
  const Buffer from = at(xbc), steps = at(dt);
  if (status_) did(ops::ssd(encoder_, from, steps, a, d, dt_bias, state, at(out), slots(), options));
  return out;
}

Buffer Step::temporary(DType type, Shape shape) { return status_ ? got(device_.placeholder(type, shape)) : Buffer(); }

Value Step::multiply_experts(const Value& x, const ops::Weight& weight, const Buffer& starts) {
  const ops::Activations a = activations(x, weight);
  const Value out = value(x.rows(), weight.rows(), x.of_wanted_);
  if (status_) did(ops::matmul_experts(encoder_, a, weight, starts, at(out)));
  return out;
}

Value Step::mixture(const Value& x, const Linear& router, const Experts& experts, std::size_t k, bool normalise) {
  const std::size_t rows = x.rows();
  const Value logits = multiply(x, router);
  const Buffer ids = temporary(DType::i32, {rows, k}), shares = temporary(DType::f32, {rows, k}),
               order = temporary(DType::i32, {rows * k}), places = temporary(DType::i32, {rows, k}),
               starts = temporary(DType::i32, {experts.gate.experts() + 1});
  if (status_) did(ops::expert_choice(encoder_, at(logits), ids, shares, normalise));
  if (status_) did(ops::expert_order(encoder_, ids, order, places, starts));
  const Value sorted = value(rows * k, x.width(), x.of_wanted_);
  if (status_) did(ops::gather_rows(encoder_, at(x), order, at(sorted)));
  const Value gate = multiply_experts(sorted, experts.gate, starts), up = multiply_experts(sorted, experts.up, starts);
  const Value down = multiply_experts(silu_mul(gate, up), experts.down, starts);
  const Value out = like(x);
  if (status_) did(ops::expert_sum(encoder_, at(down), places, shares, at(out)));
  return out;
}

Value Step::gated_norm(const Value& x, const Value& gate, const Buffer& weight, float eps, std::size_t groups) {
  const Value out = like(x);
  const Buffer from = at(x), g = at(gate);
  if (status_) did(ops::gated_norm(encoder_, from, g, weight, at(out), eps, groups));
  return out;
}

Value Step::asked(std::size_t layer, const Value& x) { return layer + 1 == tensors_.cache.size() ? wanted(x) : x; }

Value Step::wanted(const Value& x) {
  if (x.of_wanted_ || !some_are_wanted() || !status_) return x;
  Value& rows = wanted_[x.id_];
  if (!rows.memory_) {
    rows = value(tensors_.wanted.shape()[0], x.width(), true);
    const Buffer from = at(x), to = at(rows);
    if (status_) did(ops::gather_rows(encoder_, from, tensors_.wanted, to));
  }
  return rows;
}

void Step::logits(const Value& x, const Linear& head) {
  if (!tensors_.logits) return;
  const Value asked = wanted(x);
  const ops::Activations a = activations(asked, head.weight);
  if (status_) did(ops::matmul(encoder_, a, head.weight, tensors_.logits, {.bias = head.bias}));
}

}  // namespace halyard::models
