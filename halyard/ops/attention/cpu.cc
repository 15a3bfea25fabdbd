#include "halyard/ops/attention/cpu.h"

#include <algorithm>

#include "halyard/hal/device.h"
#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {
namespace {

// How the work is cut changes no bit of the result. A tile has up to 96 rows (48 of long heads): enough to repay turning
// the keys, few enough for the second cache. One query of few KV heads is cut finer, that no thread be without work.
Launch in_tiles(const LaunchInputs& in) {
  const auto c = in.arguments.as<AttentionConstants>();
  const std::size_t queries = c.queries, kv_heads = c.pages.n_kv_heads, group = c.n_heads / kv_heads;
  const std::size_t head_dim = c.pages.head_dim, threads = static_cast<std::size_t>(in.device.threads);
  const std::size_t wanted = queries == 1 ? std::min(group, threads / kv_heads) : 1;
  const std::size_t head_tiles = std::max((group + 15) / 16, wanted);
  const std::size_t tile_heads = (group + head_tiles - 1) / head_tiles;
  const std::size_t tile_queries = std::clamp<std::size_t>((head_dim <= 128 ? 96 : 48) / tile_heads, 1, queries);
  // However the queries are shared out, there are no more tiles than these: one a sequence, and one more for each
  // tile_queries that are left when each sequence has one.
  const std::size_t own = std::min<std::size_t>(c.sequences, queries), tiles = own + (queries - own) / tile_queries;
  return {.grid = {tiles * tile_queries, kv_heads, group},
          .block = {tile_queries, 1, tile_heads},
          .shared_bytes = attention_scratch(tile_queries, tile_heads, head_dim).end * sizeof(float)};
}

template <class Arguments> Launch by_row(const LaunchInputs& in) {
  const auto c = in.arguments.as<Arguments>();
  return in_rows(c.rows, c.pages.head_dim);
}

}  // namespace

const CpuForm kv_append = {.select = HALYARD_CPU_KERNEL(kv_append_cpu), .launch = by_row<KvAppendConstants>};
const CpuForm kv_move = {.select = HALYARD_CPU_KERNEL(kv_move_cpu), .launch = by_row<KvMoveConstants>};
const CpuForm attention = {.select = HALYARD_CPU_KERNEL(attention_cpu), .restartable = true, .launch = in_tiles};
const CpuForm attention_pack = {
    .select = HALYARD_CPU_KERNEL(attention_pack_cpu), .restartable = true, .launch = in_tiles};

}  // namespace halyard::ops::cpu
