// out[r] = the first i with x[r, i] = max_i x[r, i]. x [rows, width] f32, out [rows] i32. Limited by bytes.
// Values are compared as integers in the order of the floats, NaN (of either sign) above +inf, -0 equal to +0.
#include "halyard/ops/argmax/cpu.h"
#include "halyard/ops/cpu/simd.h"

namespace halyard::ops {
namespace {

using namespace simd;

constexpr std::int32_t kLeast = -0x7fffffff - 1;  // below the order of -inf

I order(F x) {
  const I bits = float_to_bits(x + 0.0F);  // -0 becomes +0
  return select(x != x, splat(std::int32_t{0x7fffffff}), bits ^ ((bits >> 31) & 0x7fffffff));
}

std::int32_t argmax_row(const float* x, std::size_t width) {
  I best = splat(kLeast), at{};  // of each lane; a later equal one does not replace the first
  I index = iota();
  for_each_vector(width, [&](std::size_t i, auto n) {
    const I candidate = order(load(x + i, n));
    const I better = (candidate > best) & (index < static_cast<std::int32_t>(width));
    best = select(better, candidate, best);
    at = select(better, index, at);
    index += kLanes;
  });
  int winner = 0;
  for (int i = 1; i < kLanes; ++i)
    if (best[i] > best[winner] || (best[i] == best[winner] && at[i] < at[winner])) winner = i;
  return at[winner];
}

}  // namespace

template <> void argmax_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<ArgmaxConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r)
    t.as<std::int32_t>(1)[r] = argmax_row(t.as<float>(0) + r * c.width, c.width);
}

}  // namespace halyard::ops
