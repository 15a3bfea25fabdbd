#include "halyard/ops/embedding/embedding.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "halyard/ops/check.h"
#include "halyard/ops/embedding/kernels.h"
#include "halyard/ops/weight/layout.h"

namespace halyard::ops {

Result<void> embedding(CommandEncoder& encoder, const Buffer& ids, const Weight& table, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    const Weight::Impl* w = WeightAccess::impl(table);
    if (!w || table.experts() != 0)
      return fail(Errc::invalid_argument,
                  w ? "embedding: the table is experts'" : "embedding: the table was never loaded");
    if (!ids || !out)
      return fail(Errc::invalid_argument, fmt::format("embedding: {} is a null buffer", ids ? "out" : "ids"));
    if (ids.dtype() != DType::i32 || ids.shape().rank() != 1)
      return fail(Errc::invalid_argument, fmt::format("embedding: ids must be i32 [T], got {} {}",
                                                      to_string(ids.dtype()), to_string(ids.shape())));
    const Shape expected{ids.shape()[0], table.columns()};
    if (out.dtype() != DType::f32 || out.shape() != expected)
      return fail(Errc::invalid_argument, fmt::format("embedding: out must be f32 {}, got {} {}", to_string(expected),
                                                      to_string(out.dtype()), to_string(out.shape())));
    HALYARD_TRY(check_writes("embedding", {"out", out}, {}, {{"ids", ids}, {"the table", w->memory[0]}}));
    std::array<Buffer, 5> buffers = {ids};
    std::copy_n(w->memory.begin(), w->bindings, buffers.begin() + 1);
    buffers[w->bindings + 1] = out;
    return encoder.dispatch(*w->layout->look_up, std::span(buffers).first(w->bindings + 2),
                            EmbeddingArgs{w->n, w->k, w->group, w->bits, w->dtype});
  });
}

}  // namespace halyard::ops
