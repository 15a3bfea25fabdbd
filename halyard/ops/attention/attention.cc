#include "halyard/ops/attention/attention.h"

#include <algorithm>
#include <cstddef>

#include "halyard/hal/device.h"
#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/check.h"

namespace halyard::ops {
namespace {

const KernelDef kv_append_def = {"kv_append", "rx", {}, HALYARD_CPU_KERNEL(kv_append_cpu)};
const KernelDef attention_def = {"attention", "rrrw", {}, HALYARD_CPU_KERNEL(attention_cpu), true};

constexpr std::size_t kMaxHeadDim = 256;

/// offset + count ≤ capacity, for any offset.
Result<void> check_room(std::string_view op, std::size_t offset, std::size_t count, std::size_t capacity) {
  if (count <= capacity && offset <= capacity - count) return {};
  return bad_argument(op, "offset", fmt::format("offset + {} positions ≤ capacity {}", count, capacity),
                      fmt::format("offset {}", offset));
}

}  // namespace

Result<void> kv_append(CommandEncoder& e, const Buffer& x, const Buffer& cache, std::size_t offset) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_rank("kv_append", "x", x, {DType::f32}, 3));
    HALYARD_TRY(check_rank("kv_append", "cache", cache, {DType::f32, DType::f16, DType::bf16}, 3));
    const std::size_t positions = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2];
    const std::size_t capacity = cache.shape()[1];
    HALYARD_TRY(check_tensor("kv_append", "cache", cache, {cache.dtype()}, {heads, capacity, head_dim}));
    HALYARD_TRY(check_room("kv_append", offset, positions, capacity));
    HALYARD_TRY(check_writes("kv_append", {"cache", cache}, {}, {{"x", x}}));
    if (x.shape().elements() == 0) return {};
    const KvAppendConstants c = {.offset = offset,
                                 .capacity = capacity,
                                 .rows = positions * heads,
                                 .item_rows = rows_per_item(head_dim),
                                 .n_kv_heads = heads,
                                 .head_dim = head_dim,
                                 .cache = cache.dtype()};
    const Buffer buffers[] = {x, cache};
    const ParameterPlace parameters[] = {
        {kOffsetParameter, offsetof(KvAppendConstants, offset), 8, capacity - positions}};
    return e.dispatch({.kernel = HALYARD_TRY(e.kernel(kv_append_def)),
                       .grid = {items(c.rows, c.item_rows)},
                       .buffers = buffers,
                       .constants = c,
                       .parameters = parameters});
  });
}

Result<void> attention(CommandEncoder& e, const Buffer& q, const Buffer& k, const Buffer& v, const Buffer& out,
                       const AttentionOptions& options) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "attention";
    HALYARD_TRY(check_rank(op, "q", q, {DType::f32}, 3));
    HALYARD_TRY(check_rank(op, "k", k, {DType::f32, DType::f16, DType::bf16}, 3));
    const std::size_t queries = q.shape()[0], heads = q.shape()[1], head_dim = q.shape()[2];
    const std::size_t kv_heads = k.shape()[0], capacity = k.shape()[1];
    HALYARD_TRY(check_tensor(op, "k", k, {k.dtype()}, {kv_heads, capacity, head_dim}));
    HALYARD_TRY(check_tensor(op, "v", v, {k.dtype()}, k.shape()));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, q.shape()));
    if (head_dim > kMaxHeadDim)
      return bad_argument(op, "q", fmt::format("heads of at most {} elements", kMaxHeadDim), to_string(q.shape()));
    if (kv_heads == 0 || heads % kv_heads != 0)
      return bad_argument(op, "q", fmt::format("a multiple of k's {} heads", kv_heads), fmt::format("{} heads", heads));
    HALYARD_TRY(check_room(op, options.offset, queries, capacity));
    HALYARD_TRY(check_writes(op, {"out", out}, {}, {{"q", q}, {"k", k}, {"v", v}}));
    if (q.shape().elements() == 0) return {};

    // How the work is cut changes no bit of the result. A tile has up to 96 rows (48 of long heads): enough to repay turning
    // the keys, few enough for the second cache. One query of few KV heads is cut finer, that no thread be without work.
    const std::size_t group = heads / kv_heads;
    const auto threads = static_cast<std::size_t>(e.device().capabilities().threads);
    const std::size_t wanted = queries == 1 ? std::min(group, threads / kv_heads) : 1;
    const std::size_t head_tiles = std::max((group + 15) / 16, wanted);
    const std::size_t tile_heads = (group + head_tiles - 1) / head_tiles;
    const std::size_t tile_queries = std::clamp<std::size_t>((head_dim <= 128 ? 96 : 48) / tile_heads, 1, queries);
    const AttentionConstants c = {.offset = options.offset,
                                  .capacity = capacity,
                                  .queries = queries,
                                  .window = options.window == 0 ? UINT64_MAX : options.window,
                                  .n_heads = heads,
                                  .n_kv_heads = kv_heads,
                                  .head_dim = static_cast<std::uint32_t>(head_dim),
                                  .tile_queries = static_cast<std::uint32_t>(tile_queries),
                                  .tile_heads = static_cast<std::uint32_t>(tile_heads),
                                  .scale = options.scale,
                                  .cache = k.dtype()};
    const AttentionScratch scratch = {(tile_queries * tile_heads + 15) / 16 * 16, (head_dim + 15) / 16 * 16};
    const Buffer buffers[] = {q, k, v, out};
    const ParameterPlace parameters[] = {
        {kOffsetParameter, offsetof(AttentionConstants, offset), 8, capacity - queries}};
    return e.dispatch({.kernel = HALYARD_TRY(e.kernel(attention_def)),
                       .grid = {items(queries, tile_queries), kv_heads, items(group, tile_heads)},
                       .buffers = buffers,
                       .constants = c,
                       .shared_bytes = scratch.end * sizeof(float),
                       .parameters = parameters});
  });
}

}  // namespace halyard::ops
