// out[i] = factor · x[i]. Limited by bytes.
#include "halyard/ops/scale/cpu.h"
#include "halyard/ops/cpu/simd.h"

namespace halyard::ops {

using namespace simd;

template <> void scale_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<ScaleConstants>();
  const float* x = t.as<float>(0) + t.x0;
  float* out = t.as<float>(1) + t.x0;
  for_each_vector(t.x1 - t.x0, [&](std::size_t i, auto n) { store(out + i, load(x + i, n) * c.factor, n); });
}

}  // namespace halyard::ops
