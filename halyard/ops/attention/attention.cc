#include "halyard/ops/attention/attention.h"

#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/check.h"

namespace halyard::ops {
namespace {

const KernelDef kv_append_def = {"kv_append", "rrx", {.cpu = &cpu::kv_append}};
const KernelDef kv_move_def = {"kv_move", "rrx", {.cpu = &cpu::kv_move}};
const KernelDef attention_def = {"attention", "rrrrrw", {.cpu = &cpu::attention}};

constexpr std::size_t kMaxHeadDim = 256;

Result<Pages> pages_of(std::string_view op, std::string_view name, const Buffer& b) {
  HALYARD_TRY(check_rank(op, name, b, {DType::f32, DType::f16, DType::bf16}, 4));
  const Shape& s = b.shape();
  constexpr std::size_t most = INT32_MAX;
  if (s[2] == 0 || s[2] % kPageUnit != 0)
    return bad_argument(op, name, fmt::format("pages of a multiple of {} positions", kPageUnit), to_string(s));
  if (s[0] > most / s[2] || s[1] > most || s[3] > most)
    return bad_argument(op, name, "fewer than 2^31 positions, heads and elements", to_string(s));
  return Pages{s[0] * s[2], static_cast<std::uint32_t>(s[1]), static_cast<std::uint32_t>(s[2]),
               static_cast<std::uint32_t>(s[3])};
}

}  // namespace

Result<void> kv_append(CommandEncoder& e, const Buffer& x, const Buffer& pages, const Buffer& slots) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "kv_append";
    HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 3));
    const Pages p = HALYARD_TRY(pages_of(op, "pages", pages));
    const std::size_t rows = x.shape()[0];
    HALYARD_TRY(check_tensor(op, "x", x, {DType::f32}, {rows, p.n_kv_heads, p.head_dim}));
    HALYARD_TRY(check_tensor(op, "slots", slots, {DType::i32}, {rows}));
    HALYARD_TRY(check_writes(op, {"pages", pages}, {}, {{"x", x}, {"slots", slots}}));
    if (x.shape().elements() == 0) return {};
    const Buffer buffers[] = {x, slots, pages};
    return e.dispatch(kv_append_def, buffers, KvAppendConstants{rows * p.n_kv_heads, p, pages.dtype()});
  });
}

Result<void> kv_move(CommandEncoder& e, const Buffer& pages, const Buffer& from, const Buffer& to) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "kv_move";
    const Pages p = HALYARD_TRY(pages_of(op, "pages", pages));
    HALYARD_TRY(check_rank(op, "from", from, {DType::i32}, 1));
    HALYARD_TRY(check_tensor(op, "to", to, {DType::i32}, from.shape()));
    HALYARD_TRY(check_writes(op, {"pages", pages}, {}, {{"from", from}, {"to", to}}));
    if (from.shape()[0] == 0 || p.n_kv_heads == 0 || p.head_dim == 0) return {};
    const KvMoveConstants c = {from.shape()[0] * p.n_kv_heads, p,
                               static_cast<std::uint32_t>(p.head_dim * size_of(pages.dtype()))};
    const Buffer buffers[] = {from, to, pages};
    return e.dispatch(kv_move_def, buffers, c);
  });
}

Result<void> attention(CommandEncoder& e, const Buffer& q, const Buffer& k, const Buffer& v, const Buffer& out,
                       const KvBatch& batch, const AttentionOptions& options) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "attention";
    HALYARD_TRY(check_rank(op, "q", q, {DType::f32}, 3));
    const Pages p = HALYARD_TRY(pages_of(op, "k", k));
    const std::size_t queries = q.shape()[0], heads = q.shape()[1], head_dim = p.head_dim, kv_heads = p.n_kv_heads;
    if (head_dim > kMaxHeadDim)
      return bad_argument(op, "q", fmt::format("heads of at most {} elements", kMaxHeadDim), to_string(q.shape()));
    HALYARD_TRY(check_tensor(op, "q", q, {DType::f32}, {queries, heads, head_dim}));
    HALYARD_TRY(check_tensor(op, "v", v, {k.dtype()}, k.shape()));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, q.shape()));
    if (kv_heads == 0 || heads % kv_heads != 0)
      return bad_argument(op, "q", fmt::format("a multiple of k's {} heads", kv_heads), fmt::format("{} heads", heads));
    HALYARD_TRY(check_rank(op, "spans", batch.spans, {DType::i32}, 2));
    const std::size_t sequences = batch.spans.shape()[0];
    HALYARD_TRY(check_tensor(op, "spans", batch.spans, {DType::i32}, {sequences, 4}));
    HALYARD_TRY(check_rank(op, "table", batch.table, {DType::i32}, 2));
    const std::size_t table_pages = batch.table.shape()[1];
    HALYARD_TRY(check_tensor(op, "table", batch.table, {DType::i32}, {sequences, table_pages}));
    HALYARD_TRY(check_writes(op, {"out", out}, {},
                             {{"q", q}, {"k", k}, {"v", v}, {"spans", batch.spans}, {"table", batch.table}}));
    if (q.shape().elements() == 0 || sequences == 0) return {};
    if (queries > INT32_MAX || sequences > INT32_MAX || table_pages > INT32_MAX || heads > INT32_MAX)
      return bad_argument(op, "q", "fewer than 2^31 rows, heads, sequences and pages", to_string(q.shape()));

    const AttentionConstants c = {.queries = queries,
                                  .window = options.window == 0 ? UINT64_MAX : options.window,
                                  .pages = p,
                                  .sequences = static_cast<std::uint32_t>(sequences),
                                  .table_pages = static_cast<std::uint32_t>(table_pages),
                                  .n_heads = static_cast<std::uint32_t>(heads),
                                  .scale = options.scale,
                                  .cache = k.dtype()};
    const Buffer buffers[] = {q, k, v, batch.spans, batch.table, out};
    return e.dispatch(attention_def, buffers, c);
  });
}

}  // namespace halyard::ops
