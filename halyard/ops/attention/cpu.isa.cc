// out[t, h] = Σ_j w_j v[g, j] / Σ_j w_j, w_j = e^(scale · q[t, h]·k[g, j] - max), over the positions j that query t sees.
// q, out [T, n_heads, D]; k, v [pages, n_kv_heads, page, D]; g = h / (n_heads / n_kv_heads).
//
// Positions are cut into blocks of 64 and spans of 512, counted from position 0. Within a span an online softmax goes from
// block to block (Milakov and Gimelshein 2018); the spans' sums are then added in order. A score is one chain of
// multiply-adds over d, a block's sum one over j. So the arithmetic for one query depends on its position alone: not on
// T, on the other queries of its tile, or on threads.
//
// One query (decode): limited by the bytes of k and v, which all heads of a group share. Many (prefill): limited by
// multiply-adds; a block of keys is turned once, so that both products are matrix products with rows of vectors.
#include "halyard/ops/attention/cpu.h"
#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/matmul/pack.h"
#include "halyard/ops/rope/heads.h"

namespace halyard::ops {
namespace {

using namespace simd;

constexpr std::size_t kBlock = AttentionScratch::block, kSpan = AttentionScratch::span;

std::size_t least(std::size_t a, std::size_t b) { return a < b ? a : b; }
std::size_t most(std::size_t a, std::size_t b) { return a > b ? a : b; }

// --- matrix products ------------------------------------------------------------------------------------------------

/// c[r, :] = Σ_i a[r, i] b[i, :], i from first to last in order, after `rescale`[r] · c[r, :] where given.
template <class B> struct Product {
  const float* a;
  std::size_t a_step;
  const B* b;
  std::size_t b_step;
  float* c;
  std::size_t c_step;
  std::size_t first, last;
  const float* rescale;
};

/// R rows and V vectors of columns, from a row r and a column.
template <int R, int V, class B> void product_tile(const Product<B>& p, std::size_t r, std::size_t column) {
  F sums[R][V] = {};
  if (p.rescale)
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < V; ++j) sums[i][j] = load(p.c + (r + i) * p.c_step + column + j * kLanes) * p.rescale[r + i];
  const float* a = p.a + r * p.a_step;
  const B* b = p.b + p.first * p.b_step + column;
  for (std::size_t k = p.first; k < p.last; ++k, b += p.b_step) {
    F row[V];
    for (int j = 0; j < V; ++j) row[j] = load(b + j * kLanes);
    for (int i = 0; i < R; ++i) {
      const F x = splat(a[i * p.a_step + k]);
      for (int j = 0; j < V; ++j) sums[i][j] = fma(x, row[j], sums[i][j]);
    }
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < V; ++j) store(p.c + (r + i) * p.c_step + column + j * kLanes, sums[i][j]);
}

constexpr int kRows = 6;  // 6 × 4 or 6 × 2 sums and a row of b fill the registers
constexpr int kVectors = kRegisters == 32 ? 4 : 2;

template <int R, class B> void product_rows(const Product<B>& p, std::size_t r, std::size_t vectors) {
  std::size_t v = 0;
  for (; v + kVectors <= vectors; v += kVectors) product_tile<R, kVectors>(p, r, v * kLanes);
  if (vectors - v == 3) product_tile<R, 3>(p, r, v * kLanes);
  if (vectors - v == 2) product_tile<R, 2>(p, r, v * kLanes);
  if (vectors - v == 1) product_tile<R, 1>(p, r, v * kLanes);
}

template <class B> void product(const Product<B>& p, std::size_t rows, std::size_t vectors) {
  std::size_t r = 0;
  for (; r + kRows <= rows; r += kRows) product_rows<kRows>(p, r, vectors);
  switch (rows - r) {
    case 5: return product_rows<5>(p, r, vectors);
    case 4: return product_rows<4>(p, r, vectors);
    case 3: return product_rows<3>(p, r, vectors);
    case 2: return product_rows<2>(p, r, vectors);
    case 1: return product_rows<1>(p, r, vectors);
    default: return;
  }
}

// --- one tile -------------------------------------------------------------------------------------------------------

/// The `queries` rows of q from `query` on, which are positions `position` … of one sequence, of heads [head, head + heads),
/// which share KV head `kv_head`. Row t · heads + h of the scratch is query `query` + t of head `head` + h.
struct Attention {
  const AttentionConstants& c;
  const CpuTile& tile;
  bool packed;  ///< out is
  std::size_t query, queries, position, window;
  const std::int32_t* table;  ///< the sequence's pages
  std::size_t head, heads, kv_head;
  AttentionScratch at;

  float* scratch(std::size_t offset) const { return reinterpret_cast<float*>(tile.shared) + offset; }
  /// Query t sees the positions [first_seen(t), end_seen(t)).
  std::size_t end_seen(std::size_t t) const { return position + t + 1; }
  std::size_t first_seen(std::size_t t) const { return end_seen(t) - least(end_seen(t), window); }
  std::size_t element(std::size_t t, std::size_t h) const {
    return ((query + t) * c.n_heads + head + h) * c.pages.head_dim;
  }
};

/// A block's queries and positions: those of queries [t0, t1) are not empty; all positions are in [first, last).
struct Block {
  std::size_t begin;  ///< position
  std::size_t t0, t1;
  std::size_t first, last;  ///< positions that any query sees
  bool full;                ///< every query sees every position

  std::size_t first_of(const Attention& a, std::size_t t) const { return most(a.first_seen(t), begin) - begin; }
  std::size_t last_of(const Attention& a, std::size_t t) const { return least(a.end_seen(t), begin + kBlock) - begin; }
};

Block block_at(const Attention& a, std::size_t begin) {
  Block b = {begin, 0, a.queries, 0, 0, false};
  while (a.end_seen(b.t0) <= begin) ++b.t0;
  while (a.first_seen(b.t1 - 1) >= begin + kBlock) --b.t1;
  b.first = begin + b.first_of(a, b.t0);
  b.last = begin + b.last_of(a, b.t1 - 1);
  b.full = b.first_of(a, b.t1 - 1) == 0 && b.last_of(a, b.t0) == kBlock;
  return b;
}

template <class T> constexpr bool is_f32 = false;
template <> constexpr bool is_f32<float> = true;

/// stage[j, :] = source row j as f32, positions being `begin` + j, zeros beyond head_dim. Rows outside [first, last) become zero.
template <class T> void stage_rows(const Attention& a, const T* source, const Block& b) {
  for (std::size_t j = 0; j < kBlock; ++j) {
    float* to = a.scratch(a.at.stage) + j * a.at.width;
    const std::size_t position = b.begin + j;
    if (position < b.first || position >= b.last) {
      for (std::size_t d = 0; d < a.at.width; d += kLanes) store(to + d, F{});
      continue;
    }
    const T* from = source + j * a.c.pages.head_dim;
    // width is a multiple of every lane count, and loads of a part fill up with zeros
    for (std::size_t d = a.c.pages.head_dim / kLanes * kLanes; d < a.at.width; d += kLanes) store(to + d, F{});
    for_each_vector(a.c.pages.head_dim, [&](std::size_t d, auto n) { store(to + d, load(from + d, n)); });
  }
}

/// The rows of the block at position `begin`; null, and the command buffer fails, where the table names no page for it.
template <class T> const T* rows_at(const Attention& a, const T* pages, std::size_t begin) {
  const std::int32_t page = a.table[begin / a.c.pages.page];
  if (page >= 0 && static_cast<std::uint32_t>(page) < a.c.pages.slots / a.c.pages.page)
    return pages +
           a.c.pages.element(static_cast<std::uint64_t>(page) * a.c.pages.page + begin % a.c.pages.page, a.kv_head);
  a.tile.fail("position %lld lies in page %lld, which there is not", static_cast<long long>(begin), page);
  return nullptr;
}

/// Asks for the first `n` rows of a block: with few queries a block is done before the processor has noticed where the
/// next one lies.
template <class T> void prefetch(const Attention& a, const T* rows, std::size_t n) {
  const auto* from = reinterpret_cast<const std::byte*>(rows);
  for (std::size_t i = 0; i < n * a.c.pages.head_dim * sizeof(T); i += 64) __builtin_prefetch(from + i, 0, 2);
}

/// keys[d, j] = k[j, d] of the block's rows.
template <class T> void turn_keys(const Attention& a, const T* k, const Block& b) {
  const float* rows = a.scratch(a.at.stage);
  std::size_t step = a.at.width;
  if constexpr (is_f32<T>) {
    if (a.c.pages.head_dim % 4 == 0) {
      rows = k;
      step = a.c.pages.head_dim;
    }
  }
  if (rows == a.scratch(a.at.stage)) stage_rows(a, k, b);
  for (std::size_t j = 0; j < kBlock; j += kLanes)
    for (std::size_t d = 0; d < a.c.pages.head_dim; d += 4)
      transpose_fours(rows + j * step + d, step, a.scratch(a.at.keys) + d * kBlock + j, kBlock);
}

/// One row's scores become weights e^(scale · score - top), those outside [first, last) 0.
void weigh_row(const Attention& a, std::size_t row, std::size_t first, std::size_t last) {
  float* w = a.scratch(a.at.weights) + row * kBlock;
  F greatest = splat(-kInfinity);
  for (std::size_t j = 0; j < kBlock; j += kLanes) {
    const I index = iota() + static_cast<std::int32_t>(j);
    const I seen = (index >= static_cast<std::int32_t>(first)) & (index < static_cast<std::int32_t>(last));
    const F score = select(seen, load(w + j) * a.c.scale, splat(-kInfinity));
    greatest = max(score, greatest);
    store(w + j, score);
  }
  const float of_block = max(greatest), before = a.scratch(a.at.top)[row];
  const float top = of_block > before ? of_block : before;
  const float shift = top == -kInfinity ? 0 : top;
  F total{};
  for (std::size_t j = 0; j < kBlock; j += kLanes) {
    const F e = exp(load(w + j) - shift);
    store(w + j, e);
    total = total + e;
  }
  a.scratch(a.at.new_top)[row] = top;
  a.scratch(a.at.block_weight)[row] = sum(total);
}

/// e^(x - top), 0 where both are -inf.
F shrink(F x, F top) { return exp(x - select(top == -kInfinity, F{}, top)); }

/// Scores, weights and their sums of the queries [t0, t1).
void weigh(const Attention& a, const Block& b) {
  for (std::size_t t = b.t0; t < b.t1; ++t)
    for (std::size_t h = 0; h < a.heads; ++h) weigh_row(a, t * a.heads + h, b.first_of(a, t), b.last_of(a, t));
  const std::size_t row = b.t0 * a.heads;
  float* top = a.scratch(a.at.top) + row;
  const float* new_top = a.scratch(a.at.new_top) + row;
  float* weight = a.scratch(a.at.weight) + row;
  for_each_vector((b.t1 - b.t0) * a.heads, [&](std::size_t i, auto n) {
    const F rescale = shrink(load(top + i, n), load(new_top + i, n));
    store(a.scratch(a.at.rescale) + row + i, rescale, n);
    store(weight + i, fma(load(weight + i, n), rescale, load(a.scratch(a.at.block_weight) + row + i, n)), n);
    store(top + i, load(new_top + i, n), n);
  });
}

/// sums[row] = rescale · sums[row] + Σ_j weights[row, j] v[j], v[j] at `values` + j · step.
template <class B> void add_values(const Attention& a, const B* values, std::size_t step, const Block& b) {
  // Queries that see different positions are summed apart, so that no sum touches what its query does not see.
  const std::size_t together = b.full ? b.t1 - b.t0 : 1;
  for (std::size_t t = b.t0; t < b.t1; t += together) {
    const std::size_t row = t * a.heads;
    product<B>({a.scratch(a.at.weights) + row * kBlock, kBlock, values, step, a.scratch(a.at.sums) + row * a.at.width,
                a.at.width, b.first_of(a, t), b.last_of(a, t), a.scratch(a.at.rescale) + row},
               together * a.heads, (a.c.pages.head_dim + kLanes - 1) / kLanes);
  }
}
/// Values are used where they lie, unless they are no whole vectors or so many rows use them that converting them each
/// time would cost more.
template <class T> void add_values(const Attention& a, const T* v, const Block& b) {
  const bool cheap = is_f32<T> || (b.t1 - b.t0) * a.heads <= 2 * kRows;
  if (cheap && a.c.pages.head_dim % kLanes == 0) return add_values(a, v, a.c.pages.head_dim, b);
  stage_rows(a, v, b);
  add_values(a, static_cast<const float*>(a.scratch(a.at.stage)), a.at.width, b);
}

/// totals += sums for rows [begin, end), both shrunk to the greater top; the span's are cleared.
void add_span(const Attention& a, std::size_t begin, std::size_t end) {
  for_each_vector(end - begin, [&](std::size_t i, auto n) {
    float* top = a.scratch(a.at.top) + begin + i;
    float* total_top = a.scratch(a.at.total_top) + begin + i;
    float* weight = a.scratch(a.at.weight) + begin + i;
    float* total_weight = a.scratch(a.at.total_weight) + begin + i;
    const F greater = max(load(top, n), load(total_top, n));
    const F keep = shrink(load(total_top, n), greater), add = shrink(load(top, n), greater);
    store(total_weight, fma(load(weight, n), add, load(total_weight, n) * keep), n);
    store(total_top, greater, n);
    store(a.scratch(a.at.rescale) + begin + i, keep, n);
    store(a.scratch(a.at.block_weight) + begin + i, add, n);
    store(top, splat(-kInfinity), n);
    store(weight, F{}, n);
  });
  for (std::size_t r = begin; r < end; ++r) {
    const float keep = a.scratch(a.at.rescale)[r], add = a.scratch(a.at.block_weight)[r];
    float* totals = a.scratch(a.at.totals) + r * a.at.width;
    float* sums = a.scratch(a.at.sums) + r * a.at.width;
    for (std::size_t d = 0; d < a.at.width; d += kLanes) {
      store(totals + d, fma(load(sums + d), splat(add), load(totals + d) * keep));
      store(sums + d, F{});
    }
  }
}

void clear(const Attention& a) {
  const std::size_t rows = a.queries * a.heads;
  for (std::size_t i = 0; i < rows * a.at.width; ++i) a.scratch(a.at.sums)[i] = a.scratch(a.at.totals)[i] = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    a.scratch(a.at.top)[i] = a.scratch(a.at.total_top)[i] = -kInfinity;
    a.scratch(a.at.weight)[i] = a.scratch(a.at.total_weight)[i] = 0;
  }
}

void load_queries(const Attention& a) {
  for (std::size_t t = 0; t < a.queries; ++t)
    for (std::size_t h = 0; h < a.heads; ++h) {
      const float* from = a.tile.as<float>(0) + a.element(t, h);
      float* to = a.scratch(a.at.queries) + (t * a.heads + h) * a.at.width;
      for_each_vector(a.c.pages.head_dim, [&](std::size_t d, auto n) { store(to + d, load(from + d, n)); });
    }
}

/// out = totals / weight, or its packed form. Heads are then whole groups.
void store_totals(const Attention& a) {
  for (std::size_t t = 0; t < a.queries; ++t)
    for (std::size_t h = 0; h < a.heads; ++h) {
      const std::size_t row = t * a.heads + h;
      float* from = a.scratch(a.at.totals) + row * a.at.width;
      const float weight = a.scratch(a.at.total_weight)[row];
      float* to = a.packed ? from : a.tile.as<float>(5) + a.element(t, h);
      for_each_vector(a.c.pages.head_dim, [&](std::size_t d, auto n) { store(to + d, load(from + d, n) / weight, n); });
      if (a.packed) pack_row(to, a.tile.as<PackedGroup>(5) + a.element(t, h) / 32, a.c.pages.head_dim / 32);
    }
}

template <class T> void attend(const Attention& a) {
  const T *k = a.tile.as<T>(1), *v = a.tile.as<T>(2);
  load_queries(a);
  clear(a);
  const std::size_t last = a.end_seen(a.queries - 1);
  std::size_t begin = a.first_seen(0) / kBlock * kBlock;
  std::size_t span_begin = a.queries, span_end = 0;  // queries that see any of the span
  const T *keys = rows_at(a, k, begin), *values = keys ? rows_at(a, v, begin) : nullptr;
  while (values) {
    const Block b = block_at(a, begin);
    const std::size_t row = b.t0 * a.heads, rows = (b.t1 - b.t0) * a.heads;
    const std::size_t next = begin + kBlock, left = next < last ? least(last - next, kBlock) : 0;
    const T *next_keys = left ? rows_at(a, k, next) : nullptr, *next_values = next_keys ? rows_at(a, v, next) : nullptr;
    if (left && !next_values) return;
    prefetch(a, next_keys, left);
    turn_keys(a, keys, b);
    product<float>({a.scratch(a.at.queries) + row * a.at.width, a.at.width, a.scratch(a.at.keys), kBlock,
                    a.scratch(a.at.weights) + row * kBlock, kBlock, 0, a.c.pages.head_dim, nullptr},
                   rows, kBlock / kLanes);
    prefetch(a, next_values, left);
    weigh(a, b);
    add_values(a, values, b);
    span_begin = least(span_begin, b.t0);
    span_end = most(span_end, b.t1);
    if (next % kSpan == 0 || next >= last) {
      add_span(a, span_begin * a.heads, span_end * a.heads);
      span_begin = a.queries;
      span_end = 0;
    }
    begin = next;
    keys = next_keys;
    values = next_values;
  }
  if (begin >= last && a.tile.may_write()) store_totals(a);
}

/// A sequence's part of a step. It is copied before it is checked: a tile that is done again may find other values.
struct Span {
  std::int32_t first, rows, held, window;
};
bool is_within(const Span& s, const AttentionConstants& c) {
  const auto number = [](std::int32_t x) { return static_cast<std::uint64_t>(static_cast<std::int64_t>(x)); };
  return s.first >= 0 && s.rows >= 0 && s.held >= 0 && s.window >= 0 && number(s.first) + number(s.rows) <= c.queries &&
         number(s.held) + number(s.rows) <= static_cast<std::uint64_t>(c.table_pages) * c.pages.page;
}

/// Tile `index` of all sequences' tiles of `tile_queries`; whether there is one.
bool find_tile(const CpuTile& t, const AttentionConstants& c, std::uint64_t index, std::uint64_t tile_queries,
               Attention& a) {
  for (std::uint32_t s = 0; s < c.sequences; ++s) {
    const std::int32_t* p = t.as<const std::int32_t>(3) + 4 * s;
    const Span span = {p[0], p[1], p[2], p[3]};
    if (!is_within(span, c)) {
      t.fail("sequence %lld of the step: its rows or entries (%lld held) are outside", s, span.held);
      return false;
    }
    const std::uint64_t rows = static_cast<std::uint64_t>(span.rows), tiles = (rows + tile_queries - 1) / tile_queries;
    if (index >= tiles) {
      index -= tiles;
      continue;
    }
    const std::uint64_t first = index * tile_queries;
    a.query = static_cast<std::uint64_t>(span.first) + first;
    a.queries = least(tile_queries, rows - first);
    a.position = static_cast<std::uint64_t>(span.held) + first;
    a.window = span.window ? least(c.window, static_cast<std::uint64_t>(span.window)) : c.window;
    a.table = t.as<const std::int32_t>(4) + static_cast<std::uint64_t>(s) * c.table_pages;
    return true;
  }
  return false;
}

void attention(const CpuTile& t, bool packed) {
  const auto& c = t.constants_as<AttentionConstants>();
  const std::size_t group = c.n_heads / c.pages.n_kv_heads, tile_queries = t.x1 - t.x0, heads = t.z1 - t.z0;
  Attention a = {c,     t,       packed,
                 0,     0,       0,
                 0,     nullptr, t.y0 * group + t.z0,
                 heads, t.y0,    attention_scratch(tile_queries, heads, c.pages.head_dim)};
  if (!find_tile(t, c, (t.grid.x - t.x1) / tile_queries, tile_queries, a)) {
    (void)t.may_write();  // a restartable kernel asks, even where there is nothing to write
    return;
  }
  if (c.cache == DType::f32) attend<float>(a);
  if (c.cache == DType::f16) attend<f16>(a);
  if (c.cache == DType::bf16) attend<bf16>(a);
}

void move(const CpuTile& t) {
  const auto& c = t.constants_as<KvMoveConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r) {
    const std::uint64_t head = r % c.pages.n_kv_heads;
    std::uint64_t from = 0, to = 0;
    if (!heads::find_slot(t, c.pages, t.as<const std::int32_t>(0)[r / c.pages.n_kv_heads], from)) continue;
    if (!heads::find_slot(t, c.pages, t.as<const std::int32_t>(1)[r / c.pages.n_kv_heads], to)) continue;
    const std::uint64_t size = c.row_bytes / c.pages.head_dim;
    __builtin_memcpy(t.buffers[2] + c.pages.element(to, head) * size, t.buffers[2] + c.pages.element(from, head) * size,
                     c.row_bytes);
  }
}

}  // namespace

template <> void attention_cpu<kIsa>(const CpuTile& t) { attention(t, false); }
template <> void attention_pack_cpu<kIsa>(const CpuTile& t) { attention(t, true); }

template <> void kv_append_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<KvAppendConstants>();
  for (std::uint64_t r = t.x0; r < t.x1; ++r)
    heads::append(t, c.pages, c.cache, t.as<float>(0) + r * c.pages.head_dim,
                  t.as<const std::int32_t>(1)[r / c.pages.n_kv_heads], r % c.pages.n_kv_heads, t.buffers[2]);
}
template <> void kv_move_cpu<kIsa>(const CpuTile& t) { move(t); }

}  // namespace halyard::ops
