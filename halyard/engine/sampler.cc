#include "halyard/engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include <fmt/format.h>
#include <unistd.h>

#include "halyard/base/guarded.h"

namespace halyard {
namespace {

constexpr std::size_t block = 64;  // logits whose maximum and weight are kept, so that most blocks are skipped
constexpr std::size_t lanes = 16;  // partial sums of a block: a fixed order that vector units can follow
constexpr float lowest = std::numeric_limits<float>::lowest();
constexpr float least_exponent = -88;  // its exp, and that of anything less, counts as 0

std::size_t blocks(std::size_t n) { return (n + block - 1) / block; }

/// exp(y) for y <= 0; 0 below 2^-126.5. Plain arithmetic instead of the C library's, so that every machine gets the same
/// bits and the compiler can vectorise it. y = n ln 2 + r with |r| <= ln 2 / 2; exp(r) by its series; 2^n from its bits,
/// which are those of 0 for n = -127.
inline float exp_of(float y) {
  constexpr float log2_e = 1.44269504F;
  constexpr float ln2_high = 0.693359375F;  // few bits, so n * ln2_high is exact
  constexpr float ln2_low = -2.12194440e-4F;
  constexpr float round = 12582912;  // 1.5 * 2^23: adding it leaves no fraction bits
  // max(y, least_exponent) on the bits: a float comparison could trap, which keeps the loop from being vectorised
  const auto size = std::bit_cast<std::int32_t>(y) & 0x7fffffff;
  constexpr auto most = std::bit_cast<std::int32_t>(-least_exponent);
  const float t = -std::bit_cast<float>(size < most ? size : most);
  const float n = (t * log2_e + round) - round;
  const float r = (t - n * ln2_high) - n * ln2_low;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1;
  p = p * r + 1;
  const float scale = std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
  return p * scale;
}

bool all_finite(std::span<const float> x) {
  std::uint32_t bad = 0;
  for (const float v : x) bad |= (std::bit_cast<std::uint32_t>(v) & 0x7f800000U) == 0x7f800000U ? 1U : 0U;
  return bad == 0;
}

/// The bits of a float as an integer of the same order, and back. Integer comparisons vectorise where float ones could trap.
inline std::int32_t order_of(std::int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

/// The largest of at most a block, -infinity at least; `bad` is set where one is NaN or +infinity.
float max_of(std::span<const float> x, std::uint32_t& bad) {
  constexpr std::int32_t positive_infinity = 0x7f800000;
  std::array<std::int32_t, block> order;
  order.fill(order_of(std::bit_cast<std::int32_t>(-std::numeric_limits<float>::infinity())));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto bits = std::bit_cast<std::int32_t>(x[i]);
    bad |= (bits & 0x7fffffff) > positive_infinity || bits == positive_infinity ? 1U : 0U;
    order[i] = order_of(bits);
  }
  std::int32_t top = order[0];
  for (const std::int32_t o : order) top = o > top ? o : top;
  return std::bit_cast<float>(order_of(top));
}

/// The sum of exp((x - top) * scale) over at most a block.
double weight_of(std::span<const float> x, float top, float scale) {
  std::array<float, block> weight{};
  for (std::size_t i = 0; i < x.size(); ++i) weight[i] = exp_of((x[i] - top) * scale);
  std::array<float, lanes> sum{};
  for (std::size_t i = 0; i < block; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l) sum[l] += weight[i + l];
  double total = 0;
  for (const float s : sum) total += s;
  return total;
}

Result<void> check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  const bool bounded = high < std::numeric_limits<double>::max();
  if (bounded)
    return fail(Errc::invalid_argument, fmt::format("{} must be from {} to {}, got {}", name, low, high, value));
  return fail(Errc::invalid_argument, fmt::format("{} must be a finite number >= {}, got {}", name, low, value));
}

Result<void> check_token(const char* name, std::int32_t token, std::size_t vocab_size) {
  if (token >= 0 && static_cast<std::size_t>(token) < vocab_size) return {};
  return fail(Errc::invalid_argument,
              fmt::format("{} has token {}, the vocabulary ends at {}", name, token, vocab_size - 1));
}

Result<void> check_filters(const SamplerOptions& o, std::size_t vocab_size) {
  constexpr double any = std::numeric_limits<double>::max();
  HALYARD_TRY(check_range("temp", o.temp, 0, any));
  HALYARD_TRY(check_range("top_p", o.top_p, 0, 1));
  HALYARD_TRY(check_range("min_p", o.min_p, 0, 1));
  HALYARD_TRY(check_range("min_tokens_to_keep", o.min_tokens_to_keep, 1, any));
  HALYARD_TRY(check_range("top_k", o.top_k, 0, any));
  HALYARD_TRY(check_range("xtc_probability", o.xtc_probability, 0, 1));
  HALYARD_TRY(check_range("xtc_threshold", o.xtc_threshold, 0, 0.5));
  for (const std::int32_t token : o.xtc_special_tokens)
    HALYARD_TRY(check_token("xtc_special_tokens", token, vocab_size));
  // mlx-lm never looks at top_k where it takes the most likely token
  if (o.temp > 0 && static_cast<std::size_t>(o.top_k) >= vocab_size)
    return fail(Errc::invalid_argument,
                fmt::format("top_k must be less than the vocabulary's {} tokens, got {}", vocab_size, o.top_k));
  return {};
}

Result<void> check_penalties(const SamplerOptions& o, std::size_t vocab_size) {
  constexpr double any = std::numeric_limits<double>::max();
  HALYARD_TRY(check_range("repetition_penalty", o.repetition_penalty, 0, any));
  HALYARD_TRY(check_range("presence_penalty", o.presence_penalty, -any, any));
  HALYARD_TRY(check_range("frequency_penalty", o.frequency_penalty, -any, any));
  HALYARD_TRY(check_range("repetition_context_size", o.repetition_context_size, 0, any));
  HALYARD_TRY(check_range("presence_context_size", o.presence_context_size, 0, any));
  HALYARD_TRY(check_range("frequency_context_size", o.frequency_context_size, 0, any));
  for (const auto& [token, bias] : o.logit_bias) {
    HALYARD_TRY(check_token("logit_bias", token, vocab_size));
    if (!(bias <= std::numeric_limits<float>::max()))
      return fail(Errc::invalid_argument, fmt::format("logit_bias of token {} must be a number, got {}", token, bias));
  }
  return {};
}

Result<std::uint64_t> random_seed() {
  std::uint64_t seed = 0;
  if (::getentropy(&seed, sizeof seed) != 0) return fail(Errc::io, "the system gave no random seed");
  return seed;
}

}  // namespace

Result<Sampler> Sampler::make(SamplerOptions options, std::size_t vocab_size) {
  return guarded([&]() -> Result<Sampler> {
    if (vocab_size == 0 || vocab_size > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
      return fail(Errc::invalid_argument, fmt::format("vocab_size must be from 1 to 2147483647, got {}", vocab_size));
    HALYARD_TRY(check_filters(options, vocab_size));
    HALYARD_TRY(check_penalties(options, vocab_size));
    const std::uint64_t seed = options.seed ? *options.seed : HALYARD_TRY(random_seed());
    return Sampler(std::move(options), vocab_size, seed);
  });
}

Sampler::Sampler(SamplerOptions options, std::size_t vocab_size, std::uint64_t seed)
    : options_(std::move(options)),
      vocab_size_(vocab_size),
      random_(seed),
      block_max_(blocks(vocab_size)),
      block_weight_(blocks(vocab_size)),
      seen_(vocab_size) {
  // 1e30: so that 0 * inverse_temp_ stays 0 for any temperature
  inverse_temp_ = options_.temp > 1e-30 ? static_cast<float>(1 / options_.temp) : 1e30F;
}

Result<std::int32_t> Sampler::sample(std::span<float> logits, std::span<const std::int32_t> history) {
  return guarded([&]() -> Result<std::int32_t> {
    HALYARD_TRY(prepare(logits, history));
    if (options_.temp == 0) return most_likely(logits);
    if (!filters()) return draw_from_all(logits);
    const bool xtc = options_.xtc_probability > 0 && uniform() < options_.xtc_probability;
    select(logits, xtc);
    return draw_from_candidates();
  });
}

Result<std::vector<float>> Sampler::distribution(std::span<float> logits, std::span<const std::int32_t> history) {
  return guarded([&]() -> Result<std::vector<float>> {
    HALYARD_TRY(prepare(logits, history));
    std::vector<float> sum(vocab_size_);
    if (options_.temp == 0) {
      sum[static_cast<std::size_t>(most_likely(logits))] = 1;
      return sum;
    }
    const double xtc = options_.xtc_probability;
    if (xtc > 0) add_distribution(logits, true, xtc, sum);
    if (xtc < 1) add_distribution(logits, false, 1 - xtc, sum);
    return sum;
  });
}

/// Adds `share` of the distribution with XTC applied or not.
void Sampler::add_distribution(std::span<const float> logits, bool xtc, double share, std::vector<float>& sum) {
  if (!filters()) {
    const double scale = share / weigh_all(logits, inverse_temp_);
    for (std::size_t i = 0; i < logits.size(); ++i)
      sum[i] += static_cast<float>(exp_of((logits[i] - max_) * inverse_temp_) * scale);
    return;
  }
  select(logits, xtc);
  const double scale = share / weigh_candidates();
  for (std::size_t i = 0; i < candidates_.size(); ++i)
    sum[static_cast<std::size_t>(candidates_[i].token)] += static_cast<float>(weights_[i] * scale);
}

// ---- Logits ---------------------------------------------------------------------------------------------------------

/// Applies the penalties and finds the maxima.
Result<void> Sampler::prepare(std::span<float> logits, std::span<const std::int32_t> history) {
  if (logits.size() != vocab_size_)
    return fail(Errc::invalid_argument, fmt::format("expected {} logits, got {}", vocab_size_, logits.size()));
  if (!all_finite(logits)) return fail(Errc::invalid_argument, "logits are not finite");
  HALYARD_TRY(apply_penalties(logits, history));
  std::uint32_t bad = 0;
  for (std::size_t b = 0; b < block_max_.size(); ++b)
    block_max_[b] = max_of(logits.subspan(b * block, std::min(block, logits.size() - b * block)), bad);
  max_ = *std::max_element(block_max_.begin(), block_max_.end());
  if (bad != 0) return fail(Errc::invalid_argument, "logits are not finite after the penalties");
  if (!(max_ >= lowest)) return fail(Errc::invalid_argument, "logit_bias and the penalties leave no token");
  return {};
}

Result<void> Sampler::apply_penalties(std::span<float> logits, std::span<const std::int32_t> history) {
  const SamplerOptions& o = options_;
  const auto at = [&](std::int32_t token) -> float& { return logits[static_cast<std::size_t>(token)]; };
  for (const auto& [token, bias] : o.logit_bias) at(token) += bias;
  if (o.repetition_penalty != 0) {
    const auto penalty = static_cast<float>(o.repetition_penalty);
    for (const std::int32_t token : HALYARD_TRY(recent_tokens(history, o.repetition_context_size, true)))
      at(token) = at(token) < 0 ? at(token) * penalty : at(token) / penalty;
  }
  if (o.presence_penalty != 0) {
    const auto penalty = static_cast<float>(o.presence_penalty);
    for (const std::int32_t token : HALYARD_TRY(recent_tokens(history, o.presence_context_size, true)))
      at(token) -= penalty;
  }
  if (o.frequency_penalty != 0) {
    const auto penalty = static_cast<float>(o.frequency_penalty);
    for (const std::int32_t token : HALYARD_TRY(recent_tokens(history, o.frequency_context_size, false)))
      at(token) -= penalty;
  }
  return {};
}

/// The last `context` tokens (0: all), each of them once if `once`.
Result<std::vector<std::int32_t>> Sampler::recent_tokens(std::span<const std::int32_t> history, int context,
                                                         bool once) {
  const std::size_t wanted = context == 0 ? history.size() : static_cast<std::size_t>(context);
  const auto window = history.last(std::min(history.size(), wanted));
  for (const std::int32_t token : window) HALYARD_TRY(check_token("the history", token, vocab_size_));
  std::vector<std::int32_t> tokens(window.begin(), window.end());
  if (!once) return tokens;
  std::erase_if(tokens, [&](std::int32_t token) {
    const bool before = seen_[static_cast<std::size_t>(token)];
    seen_[static_cast<std::size_t>(token)] = true;
    return before;
  });
  for (const std::int32_t token : tokens) seen_[static_cast<std::size_t>(token)] = false;
  return tokens;
}

// ---- Filters --------------------------------------------------------------------------------------------------------
//
// Every filter but XTC keeps a prefix of the tokens ordered by logit: all from a cut upwards. So cuts commute, the
// candidates are gathered by the cheapest one, and a block whose maximum is below the cut is never looked at.

bool Sampler::filters() const {
  const SamplerOptions& o = options_;
  return (o.top_p > 0 && o.top_p < 1) || o.min_p > 0 || o.xtc_probability > 0 || o.top_k > 0;
}

/// Leaves in candidates_ the tokens that may be drawn. mlx-lm's order: top_p, min_p, XTC, top_k.
void Sampler::select(std::span<const float> logits, bool xtc) {
  const SamplerOptions& o = options_;
  const bool top_p = o.top_p > 0 && o.top_p < 1;
  const double mass = top_p ? o.top_p * weigh_all(logits, 1) : 0;
  if (o.top_k > 0 && !xtc) {
    gather_largest(logits, static_cast<std::size_t>(o.top_k));
  } else if (top_p) {
    gather_nucleus(logits, mass);
  } else {
    gather_from(logits, o.min_p > 0 && o.min_tokens_to_keep == 1 ? min_p_cut() : lowest);
  }
  if (top_p) keep_top_p(mass);
  if (o.min_p > 0) keep_min_p();
  if (xtc) drop_xtc();
  if (o.top_k > 0) keep_top_k();
}

/// The tokens whose logit is at least `cut`.
void Sampler::gather_from(std::span<const float> logits, float cut) {
  candidates_.clear();
  for (std::size_t b = 0; b < block_max_.size(); ++b) {
    if (block_max_[b] < cut) continue;
    const std::size_t end = std::min(logits.size(), (b + 1) * block);
    for (std::size_t i = b * block; i < end; ++i)
      if (logits[i] >= cut) candidates_.push_back({logits[i], static_cast<std::int32_t>(i)});
  }
}

/// The `count` largest tokens and maybe some more: at least `count` logits reach the count-th largest block maximum.
void Sampler::gather_largest(std::span<const float> logits, std::size_t count) {
  if (count > block_max_.size()) return gather_from(logits, lowest);
  pool_ = block_max_;
  const auto nth = pool_.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::nth_element(pool_.begin(), nth, pool_.end(), std::greater<>());
  gather_from(logits, std::max(*nth, lowest));
}

/// The most likely tokens that weigh `mass` together, and maybe some more.
void Sampler::gather_nucleus(std::span<const float> logits, double mass) {
  for (float depth = 4; depth < -least_exponent; depth *= 2) {
    gather_from(logits, max_ - depth);
    double sum = 0;
    for (const Candidate& c : candidates_) sum += exp_of(c.logit - max_);
    if (sum >= mass) return;
  }
  gather_from(logits, lowest);
}

/// The logit of the candidate that is `rank`-th from the top (from 1); the least where there are fewer.
float Sampler::largest_candidate(std::size_t rank) {
  pool_.clear();
  for (const Candidate& c : candidates_) pool_.push_back(c.logit);
  const auto nth = pool_.begin() + static_cast<std::ptrdiff_t>(std::min(rank, pool_.size()) - 1);
  std::nth_element(pool_.begin(), nth, pool_.end(), std::greater<>());
  return *nth;
}

/// Keeps a token while the tokens above it weigh less than `mass`.
void Sampler::keep_top_p(double mass) {
  const auto weight = [this](float logit) { return static_cast<double>(exp_of(logit - max_)); };
  pool_.clear();
  for (const Candidate& c : candidates_) pool_.push_back(c.logit);
  auto begin = pool_.begin(), end = pool_.end();
  double above = 0;
  while (end - begin > 256) {  // halve where the cut lies until sorting is cheap
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, std::greater<>());
    double upper = above;
    for (auto i = begin; i != middle; ++i) upper += weight(*i);
    (upper >= mass ? end : begin) = middle;
    if (begin == middle) above = upper;
  }
  std::sort(begin, end, std::greater<>());
  float cut = *begin;
  for (auto i = begin; i != end && above < mass; ++i) {
    cut = *i;
    above += weight(*i);
  }
  std::erase_if(candidates_, [cut](const Candidate& c) { return c.logit < cut; });
}

/// The logit of a token min_p times as likely as the most likely one.
float Sampler::min_p_cut() const { return max_ + static_cast<float>(std::log(options_.min_p)); }

void Sampler::keep_min_p() {
  const float cut = std::min(min_p_cut(), largest_candidate(static_cast<std::size_t>(options_.min_tokens_to_keep)));
  std::erase_if(candidates_, [cut](const Candidate& c) { return c.logit < cut; });
}

void Sampler::keep_top_k() {
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (candidates_.size() <= k) return;
  const float cut = largest_candidate(k);
  auto ties = static_cast<std::ptrdiff_t>(k);  // of the tokens at the cut, how many are kept: the lowest ones
  ties -= std::count_if(candidates_.begin(), candidates_.end(), [cut](const Candidate& c) { return c.logit > cut; });
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < cut || (c.logit == cut && ties-- <= 0); });
}

/// Exclude top choices: of the tokens more probable than the threshold only the least probable one stays.
void Sampler::drop_xtc() {
  double total = 0;
  for (const Candidate& c : candidates_) total += exp_of(c.logit - max_);
  float least = std::numeric_limits<float>::infinity();
  for (const Candidate& c : candidates_)
    if (exp_of(c.logit - max_) / total > options_.xtc_threshold) least = std::min(least, c.logit);
  const auto& special = options_.xtc_special_tokens;
  std::erase_if(candidates_, [&](const Candidate& c) {
    return c.logit > least && std::find(special.begin(), special.end(), c.token) == special.end();
  });
}

// ---- Drawing --------------------------------------------------------------------------------------------------------

/// In [0, 1), with 53 random bits.
double Sampler::uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

/// The sum of exp((logit - max_) * inverse_temp), and of each block.
double Sampler::weigh_all(std::span<const float> logits, float inverse_temp) {
  double total = 0;
  for (std::size_t b = 0; b < block_weight_.size(); ++b) {
    const auto part = logits.subspan(b * block, std::min(block, logits.size() - b * block));
    total += block_weight_[b] = weight_of(part, max_, inverse_temp);
  }
  return total;
}

/// Fills weights_; XTC may have dropped the largest logit, so they are relative to the largest that is left.
double Sampler::weigh_candidates() {
  float top = lowest;
  for (const Candidate& c : candidates_) top = std::max(top, c.logit);
  weights_.clear();
  double total = 0;
  for (const Candidate& c : candidates_) total += weights_.emplace_back(exp_of((c.logit - top) * inverse_temp_));
  return total;
}

std::int32_t Sampler::most_likely(std::span<const float> logits) const {
  const auto first = std::find(block_max_.begin(), block_max_.end(), max_) - block_max_.begin();
  const auto begin = logits.begin() + first * static_cast<std::ptrdiff_t>(block);
  return static_cast<std::int32_t>(std::find(begin, logits.end(), max_) - logits.begin());
}

std::int32_t Sampler::draw_from_all(std::span<const float> logits) {
  double rest = uniform() * weigh_all(logits, inverse_temp_);
  std::size_t b = 0, chosen = static_cast<std::size_t>(most_likely(logits));
  for (; b + 1 < block_weight_.size() && rest >= block_weight_[b]; ++b) rest -= block_weight_[b];
  const std::size_t end = std::min(logits.size(), (b + 1) * block);
  for (std::size_t i = b * block; i < end && rest >= 0; ++i) {
    const double weight = exp_of((logits[i] - max_) * inverse_temp_);
    if (weight > 0) chosen = i;  // rounding may leave `rest` just past the last token: that one is drawn then
    rest -= weight;
  }
  return static_cast<std::int32_t>(chosen);
}

std::int32_t Sampler::draw_from_candidates() {
  double rest = uniform() * weigh_candidates();
  std::int32_t chosen = candidates_.front().token;
  for (std::size_t i = 0; i < candidates_.size() && rest >= 0; ++i) {
    if (weights_[i] > 0) chosen = candidates_[i].token;
    rest -= weights_[i];
  }
  return chosen;
}

}  // namespace halyard
