// out[r, i] = e^(x[r, i] - m) / Σ_i e^(x[r, i] - m), m = max_i x[r, i]. x, out [rows, width] f32.
// Limited by operations (e^x) where a row fits the cache, else by bytes: x is read twice, out written and read once more.
// The sum runs over blocks of 1024 elements in f32 lanes, the blocks' sums in f64: an order given by the width alone.
#include "halyard/ops/softmax/cpu.h"
#include "halyard/ops/cpu/simd.h"

namespace halyard::ops {
namespace {

using namespace simd;

float greatest(const float* x, std::size_t width) {
  F m[4] = {splat(-kInfinity), splat(-kInfinity), splat(-kInfinity), splat(-kInfinity)};
  std::size_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes)
    for (int j = 0; j < 4; ++j) m[j] = max(load(x + i + j * kLanes), m[j]);
  float top = max(max(max(m[0], m[1]), max(m[2], m[3])));
  for (; i < width; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

void softmax_row(const float* x, float* out, std::size_t width) {
  constexpr std::size_t block = 1024;
  const float top = greatest(x, width);
  double total = 0;
  for (std::size_t begin = 0; begin < width; begin += block) {
    F s{};
    for_each_vector(width - begin < block ? width - begin : block, [&](std::size_t i, auto n) {
      const F e = exp(load(x + begin + i, n) - top);
      store(out + begin + i, e, n);
      s = s + load(out + begin + i, n);  // lanes beyond the end count 0
    });
    total += static_cast<double>(sum(s));
  }
  const auto divisor = static_cast<float>(total);
  for_each_vector(width, [&](std::size_t i, auto n) { store(out + i, load(out + i, n) / divisor, n); });
}

}  // namespace

template <> void softmax_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<SoftmaxConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r)
    softmax_row(t.as<float>(0) + r * c.width, t.as<float>(1) + r * c.width, c.width);
}

}  // namespace halyard::ops
