// What moe.h says, in f64: transformers' Qwen3MoeSparseMoeBlock and mlx-lm's take the softmax over all experts, then its k greatest,
// which norm_topk_prob divides by their sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace halyard::ops::reference {

struct Choice {
  std::vector<std::int32_t> ids;
  std::vector<double> weights;
};
/// Of one row.
inline Choice expert_choice(const std::vector<float>& logits, std::size_t chosen, bool normalise) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](std::int32_t e) { return static_cast<double>(logits[static_cast<std::size_t>(e)]); };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    if (std::isnan(logit(a)) || std::isnan(logit(b))) return !std::isnan(logit(a)) && std::isnan(logit(b));
    return logit(a) > logit(b);
  });
  order.resize(chosen);
  double all = 0, of_chosen = 0;
  for (const float x : logits) all += std::exp(x - logit(order[0]));
  Choice c = {order, {}};
  for (const std::int32_t e : order) c.weights.push_back(std::exp(logit(e) - logit(order[0])) / all);
  for (const double w : c.weights) of_chosen += w;
  for (double& w : c.weights) w /= normalise ? of_chosen : 1;
  return c;
}

}  // namespace halyard::ops::reference
