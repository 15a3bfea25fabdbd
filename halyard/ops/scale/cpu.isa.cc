// out[i] = factor · x[i]. Limited by bytes.
#include "halyard/ops/check.h"
#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/scale/kernels.h"

namespace halyard::ops {

using namespace simd;

template <> void scale_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<ScaleConstants>();
  const std::size_t begin = t.x0 * kItemElements, last = t.x1 * kItemElements, end = last < c.elements ? last : c.elements;
  const float* x = t.as<float>(0) + begin;
  float* out = t.as<float>(1) + begin;
  for_each_vector(end - begin, [&](std::size_t i, auto n) { store(out + i, load(x + i, n) * c.factor, n); });
}

}  // namespace halyard::ops
