// (a', b') = (a cos - b sin, b cos + a sin) for each pair of the first 2·pairs elements of a head; the rest is copied.
// x, out [T, heads, head_dim] f32; cos_sin [T, pairs, 2] f32. Limited by bytes.
#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/rope/kernels.h"

namespace halyard::ops {
namespace {

using namespace simd;

struct Turned {
  F a, b;
};
Turned turn(F a, F b, Pair angle) {
  return {fma(a, angle.x, -(b * angle.y)), fma(b, angle.x, a * angle.y)};
}

// The vectors at p and behind it that hold n pairs x0 y0 x1 y1 …
Pair load_pairs(const float* p, Whole) { return unzip(load(p), load(p + kLanes)); }
Pair load_pairs(const float* p, Part part) {
  float whole[2 * kLanes] = {};
  for (std::size_t i = 0; i < 2 * part.n; ++i) whole[i] = p[i];
  return load_pairs(whole, Whole{});
}
void store_pairs(float* p, F x, F y, Whole) {
  const Pair v = zip(x, y);
  store(p, v.x);
  store(p + kLanes, v.y);
}
void store_pairs(float* p, F x, F y, Part part) {
  float whole[2 * kLanes];
  store_pairs(whole, x, y, Whole{});
  for (std::size_t i = 0; i < 2 * part.n; ++i) p[i] = whole[i];
}

void half_split(const float* x, const float* cos_sin, float* out, std::size_t pairs) {
  for_each_vector(pairs, [&](std::size_t i, auto n) {
    const Turned r = turn(load(x + i, n), load(x + pairs + i, n), load_pairs(cos_sin + 2 * i, n));
    store(out + i, r.a, n);
    store(out + pairs + i, r.b, n);
  });
}

void interleaved(const float* x, const float* cos_sin, float* out, std::size_t pairs) {
  for_each_vector(pairs, [&](std::size_t i, auto n) {
    const Pair v = load_pairs(x + 2 * i, n);
    const Turned r = turn(v.x, v.y, load_pairs(cos_sin + 2 * i, n));
    store_pairs(out + 2 * i, r.a, r.b, n);
  });
}

template <class Row>
void rope(const CpuTile& t, Row turn_row) {
  const auto& c = t.constants_as<RopeConstants>();
  const std::uint64_t limit = t.x1 * c.item_rows, end = limit < c.rows ? limit : c.rows;
  for (std::uint64_t r = t.x0 * c.item_rows; r < end; ++r) {
    const float* x = t.as<float>(0) + r * c.head_dim;
    float* out = t.as<float>(2) + r * c.head_dim;
    turn_row(x, t.as<float>(1) + r / c.heads * c.pairs * 2, out, c.pairs);
    for (std::size_t i = 2 * c.pairs; i < c.head_dim; ++i) out[i] = x[i];
  }
}

}  // namespace

template <> void rope_half_split_cpu<kIsa>(const CpuTile& t) { rope(t, half_split); }
template <> void rope_interleaved_cpu<kIsa>(const CpuTile& t) { rope(t, interleaved); }

}  // namespace halyard::ops
