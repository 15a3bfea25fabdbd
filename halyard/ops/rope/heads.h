// One head's rotation and its way into the cache, for the kernels that need them. Only *.isa.cc files include this;
// everything has internal linkage, as in ops/cpu/simd.h.
#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/norm/rows.h"
#include "halyard/ops/rope/kernels.h"

namespace halyard::ops {
namespace {

namespace heads {
using namespace simd;

struct Turned {
  F a, b;
};
inline Turned turn(F a, F b, Pair angle) { return {fma(a, angle.x, -(b * angle.y)), fma(b, angle.x, a * angle.y)}; }

// The vectors at p and behind it that hold n pairs x0 y0 x1 y1 …
inline Pair load_pairs(const float* p, Whole) { return unzip(load(p), load(p + kLanes)); }
inline Pair load_pairs(const float* p, Part part) {
  float whole[2 * kLanes] = {};
  for (std::size_t i = 0; i < 2 * part.n; ++i) whole[i] = p[i];
  return load_pairs(whole, Whole{});
}
inline void store_pairs(float* p, F x, F y, Whole) {
  const Pair v = zip(x, y);
  store(p, v.x);
  store(p + kLanes, v.y);
}
inline void store_pairs(float* p, F x, F y, Part part) {
  float whole[2 * kLanes];
  store_pairs(whole, x, y, Whole{});
  for (std::size_t i = 0; i < 2 * part.n; ++i) p[i] = whole[i];
}

inline void half_split(const float* x, const float* cos_sin, float* out, std::size_t pairs) {
  for_each_vector(pairs, [&](std::size_t i, auto n) {
    const Turned r = turn(load(x + i, n), load(x + pairs + i, n), load_pairs(cos_sin + 2 * i, n));
    store(out + i, r.a, n);
    store(out + pairs + i, r.b, n);
  });
}

inline void interleaved(const float* x, const float* cos_sin, float* out, std::size_t pairs) {
  for_each_vector(pairs, [&](std::size_t i, auto n) {
    const Pair v = load_pairs(x + 2 * i, n);
    const Turned r = turn(v.x, v.y, load_pairs(cos_sin + 2 * i, n));
    store_pairs(out + 2 * i, r.a, r.b, n);
  });
}

/// One head: its first 2 · pairs elements turned, the rest copied.
inline void turn_head(const float* x, const float* cos_sin, float* out, std::size_t head_dim, std::size_t pairs,
                      bool is_interleaved) {
  if (is_interleaved) interleaved(x, cos_sin, out, pairs);
  else half_split(x, cos_sin, out, pairs);
  for (std::size_t i = 2 * pairs; i < head_dim; ++i) out[i] = x[i];
}

/// The slot, where there is one: false for -1, and, making the command buffer fail, for what is outside the pages.
inline bool find_slot(const CpuTile& t, const Pages& pages, std::int32_t slot, std::uint64_t& found) {
  found = static_cast<std::uint64_t>(static_cast<std::int64_t>(slot));
  if (found < pages.slots) return true;
  if (slot != -1) t.fail("slot %lld is outside pages of %lld slots", slot, static_cast<long long>(pages.slots));
  return false;
}

template <class T> void append_as(const float* row, T* to, std::size_t head_dim) {
  for_each_vector(head_dim, [&](std::size_t d, auto n) { store(to + d, load(row + d, n), n); });
}
/// A head's row goes to its slot.
inline void append(const CpuTile& t, const Pages& pages, DType cache, const float* row, std::int32_t slot,
                   std::uint64_t head, std::byte* out) {
  std::uint64_t found = 0;
  if (!find_slot(t, pages, slot, found)) return;
  const std::uint64_t at = pages.element(found, head);
  if (cache == DType::f32) append_as(row, reinterpret_cast<float*>(out) + at, pages.head_dim);
  if (cache == DType::f16) append_as(row, reinterpret_cast<f16*>(out) + at, pages.head_dim);
  if (cache == DType::bf16) append_as(row, reinterpret_cast<bf16*>(out) + at, pages.head_dim);
}

/// Head r of [T · heads, head_dim] takes the steps that `c` names, from x to `out` or the pages. `scratch`: a head, not x.
inline void send(const CpuTile& t, const HeadConstants& c, std::uint64_t r, const float* x, const std::byte* weight,
                 const float* cos_sin, const std::int32_t* slots, std::byte* out, float* scratch) {
  if (c.norm) {
    const NormConstants norm = {1, c.head_dim, c.eps, c.weight, c.weight, 0};
    with_type(c.weight, weight, [&](const auto* w) { rms_norm_row(x, w, scratch, norm); });
    x = scratch;
  }
  if (c.turn) {
    float* to = c.append ? scratch : reinterpret_cast<float*>(out) + r * c.head_dim;
    turn_head(x, cos_sin + r / c.heads * c.pairs * 2, to, c.head_dim, c.pairs, c.interleaved);
    x = to;
  }
  if (c.append) append(t, c.pages, c.cache, x, slots[r / c.heads], r % c.heads, out);
}

}  // namespace heads
}  // namespace
}  // namespace halyard::ops
