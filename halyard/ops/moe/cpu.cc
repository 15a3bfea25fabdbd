// Which experts, in which order, and the sum: a few operations for each of thousands that the experts take, so one portable
// kernel each is enough.
#include <algorithm>
#include <cmath>

#include "halyard/ops/cpu/launch.h"
#include "halyard/ops/moe/kernels.h"

namespace halyard::ops::cpu {
namespace {

// Work-items: rows.
void choose(const CpuTile& t) {
  const auto& c = t.constants_as<ExpertChoiceConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r) {
    const float* logits = t.as<float>(0) + r * c.experts;
    std::int32_t* ids = t.as<std::int32_t>(1) + r * c.chosen;
    float* weights = t.as<float>(2) + r * c.chosen;
    const auto before = [&](std::int32_t a, std::int32_t b) {  // what is no number comes last
      const float x = logits[a], y = logits[b];
      return x > y || (x == x && y != y) || (!(x < y) && !(x != x && y == y) && a < b);
    };
    std::uint32_t held = 0;  // sorted, by insertion
    for (std::int32_t e = 0; e < static_cast<std::int32_t>(c.experts); ++e) {
      if (held == c.chosen && !before(e, ids[held - 1])) continue;
      std::uint32_t at = held < c.chosen ? held++ : held - 1;
      for (; at > 0 && before(e, ids[at - 1]); --at) ids[at] = ids[at - 1];
      ids[at] = e;
    }
    float all = 0, of_chosen = 0;
    const float greatest = logits[ids[0]];
    for (std::uint32_t e = 0; e < c.experts; ++e) all += std::exp(logits[e] - greatest);
    for (std::uint32_t j = 0; j < c.chosen; ++j) of_chosen += weights[j] = std::exp(logits[ids[j]] - greatest) / all;
    for (std::uint32_t j = 0; c.normalise && j < c.chosen; ++j) weights[j] /= of_chosen;
  }
}

// One work-item: counting sort.
void order(const CpuTile& t) {
  const auto& c = t.constants_as<ExpertOrderConstants>();
  const auto* ids = t.as<const std::int32_t>(0);
  std::int32_t *rows = t.as<std::int32_t>(1), *places = t.as<std::int32_t>(2), *starts = t.as<std::int32_t>(3);
  std::fill_n(starts, c.experts + 1, 0);
  for (std::uint64_t i = 0; i < c.pairs; ++i) {
    if (ids[i] < 0 || static_cast<std::uint32_t>(ids[i]) >= c.experts)
      return t.fail("expert %lld is not one of %lld", ids[i], static_cast<long long>(c.experts));
    ++starts[ids[i] + 1];
  }
  for (std::uint32_t e = 0; e < c.experts; ++e) starts[e + 1] += starts[e];
  std::int32_t next[most_experts];
  std::copy_n(starts, c.experts, next);
  for (std::uint64_t i = 0; i < c.pairs; ++i) {
    places[i] = next[ids[i]]++;
    rows[places[i]] = static_cast<std::int32_t>(i / c.chosen);
  }
}

// Work-items: rows.
void sum(const CpuTile& t) {
  const auto& c = t.constants_as<ExpertSumConstants>();
  const std::uint64_t pairs = c.rows * c.chosen;
  for (std::uint64_t r = t.x0; r < t.x1; ++r) {
    float* out = t.as<float>(3) + r * c.width;
    std::fill_n(out, c.width, 0.0F);
    for (std::uint32_t j = 0; j < c.chosen; ++j) {
      const std::int32_t place = t.as<const std::int32_t>(1)[r * c.chosen + j];
      if (place < 0 || static_cast<std::uint64_t>(place) >= pairs)
        return t.fail("place %lld is not one of %lld", place, static_cast<long long>(pairs));
      const float* y = t.as<const float>(0) + static_cast<std::uint64_t>(place) * c.width;
      const float w = t.as<const float>(2)[r * c.chosen + j];
      for (std::uint64_t i = 0; i < c.width; ++i) out[i] += w * y[i];
    }
  }
}

}  // namespace

const CpuForm expert_choice = {.select = cpu_form<choose>.select, .launch = [](const LaunchInputs& in) {
                                 const auto c = in.arguments.as<ExpertChoiceConstants>();
                                 return in_rows(c.rows, 8 * std::uint64_t{c.experts});
                               }};
const CpuForm expert_order = {.select = cpu_form<order>.select,
                              .launch = [](const LaunchInputs&) { return Launch{.grid = {1}}; }};
const CpuForm expert_sum = {.select = cpu_form<sum>.select, .launch = [](const LaunchInputs& in) {
                              const auto c = in.arguments.as<ExpertSumConstants>();
                              return in_rows(c.rows, c.width * c.chosen);
                            }};

}  // namespace halyard::ops::cpu
