// (a', b') = (a cos - b sin, b cos + a sin) for each pair of the first 2·pairs elements of a head; the rest is copied.
// x, out [T, heads, head_dim] f32; cos_sin [T, pairs, 2] f32. Limited by bytes.
#include "halyard/ops/norm/rows.h"
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

/// One head: its first 2 · pairs elements turned, the rest copied.
void turn_head(const float* x, const float* cos_sin, float* out, const RopeConstants& c, bool is_interleaved) {
  if (is_interleaved) interleaved(x, cos_sin, out, c.pairs);
  else half_split(x, cos_sin, out, c.pairs);
  for (std::size_t i = 2 * c.pairs; i < c.head_dim; ++i) out[i] = x[i];
}

/// f(head) for the tile's heads.
template <class Head>
void for_each_head(const CpuTile& t, const RopeConstants& c, Head head) {
  const std::uint64_t limit = t.x1 * c.item_rows, end = limit < c.rows ? limit : c.rows;
  for (std::uint64_t r = t.x0 * c.item_rows; r < end; ++r) head(r);
}

void rope(const CpuTile& t, bool is_interleaved) {
  const auto& c = t.constants_as<RopeConstants>();
  for_each_head(t, c, [&](std::uint64_t r) {
    turn_head(t.as<float>(0) + r * c.head_dim, t.as<float>(1) + r / c.heads * c.pairs * 2,
              t.as<float>(2) + r * c.head_dim, c, is_interleaved);
  });
}

template <class T>
void append(const float* head, std::byte* cache, std::uint64_t r, const KvAppendConstants& c) {
  const std::uint64_t position = c.offset + r / c.n_kv_heads, kv_head = r % c.n_kv_heads;
  T* to = reinterpret_cast<T*>(cache) + (kv_head * c.capacity + position) * c.head_dim;
  for_each_vector(c.head_dim, [&](std::size_t d, auto n) { store(to + d, load(head + d, n), n); });
}
void append(const float* head, std::byte* cache, std::uint64_t r, const KvAppendConstants& c) {
  if (c.cache == DType::f32) append<float>(head, cache, r, c);
  if (c.cache == DType::f16) append<f16>(head, cache, r, c);
  if (c.cache == DType::bf16) append<bf16>(head, cache, r, c);
}

}  // namespace

template <> void rope_half_split_cpu<kIsa>(const CpuTile& t) { rope(t, false); }
template <> void rope_interleaved_cpu<kIsa>(const CpuTile& t) { rope(t, true); }

template <> void norm_rope_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<RopeFusedConstants>();
  auto* head = reinterpret_cast<float*>(t.shared);
  with_type(c.norm.weight, t.buffers[1], [&](const auto* weight) {
    for_each_head(t, c.rope, [&](std::uint64_t r) {
      rms_norm_row(t.as<float>(0) + r * c.rope.head_dim, weight, head, c.norm);
      turn_head(head, t.as<float>(2) + r / c.rope.heads * c.rope.pairs * 2, t.as<float>(3) + r * c.rope.head_dim, c.rope,
                c.interleaved);
    });
  });
}

template <> void rope_append_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<RopeFusedConstants>();
  auto* head = reinterpret_cast<float*>(t.shared);
  for_each_head(t, c.rope, [&](std::uint64_t r) {
    turn_head(t.as<float>(0) + r * c.rope.head_dim, t.as<float>(1) + r / c.rope.heads * c.rope.pairs * 2, head, c.rope,
              c.interleaved);
    append(head, t.buffers[2], r, c.append);
  });
}

template <> void norm_rope_append_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<RopeFusedConstants>();
  auto* head = reinterpret_cast<float*>(t.shared);
  with_type(c.norm.weight, t.buffers[1], [&](const auto* weight) {
    for_each_head(t, c.rope, [&](std::uint64_t r) {
      rms_norm_row(t.as<float>(0) + r * c.rope.head_dim, weight, head, c.norm);
      turn_head(head, t.as<float>(2) + r / c.rope.heads * c.rope.pairs * 2, head, c.rope, c.interleaved);
      append(head, t.buffers[3], r, c.append);
    });
  });
}

}  // namespace halyard::ops
