// dst[i] = src[i] in dst's dtype. Limited by bytes.
#include "halyard/ops/copy/cpu.h"
#include "halyard/ops/cpu/simd.h"

namespace halyard::ops {
namespace {

using namespace simd;

template <class From, class To>
void convert(const std::byte* src, std::byte* dst, std::size_t begin, std::size_t count) {
  const From* from = reinterpret_cast<const From*>(src) + begin;
  To* to = reinterpret_cast<To*>(dst) + begin;
  for_each_vector(count, [&](std::size_t i, auto n) { store(to + i, load(from + i, n), n); });
}

template <class From>
void convert_to(DType to, const std::byte* src, std::byte* dst, std::size_t begin, std::size_t count) {
  if (to == DType::f32) convert<From, float>(src, dst, begin, count);
  if (to == DType::f16) convert<From, f16>(src, dst, begin, count);
  if (to == DType::bf16) convert<From, bf16>(src, dst, begin, count);
}

}  // namespace

template <> void copy_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<CopyConstants>();
  const std::size_t begin = t.x0, count = t.x1 - t.x0;
  if (c.from == c.to) {
    const std::size_t size = c.element_size;
    __builtin_memmove(t.buffers[1] + begin * size, t.buffers[0] + begin * size, count * size);
  } else if (c.from == DType::f32) {
    convert_to<float>(c.to, t.buffers[0], t.buffers[1], begin, count);
  } else if (c.from == DType::f16) {
    convert_to<f16>(c.to, t.buffers[0], t.buffers[1], begin, count);
  } else {
    convert_to<bf16>(c.to, t.buffers[0], t.buffers[1], begin, count);
  }
}

}  // namespace halyard::ops
