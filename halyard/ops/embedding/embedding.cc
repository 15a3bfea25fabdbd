#include "halyard/ops/embedding/embedding.h"

#include <limits>

#include <fmt/format.h>

#include "halyard/ops/check.h"
#include "halyard/ops/embedding/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef embedding_kernel = {"embedding", "rrrrw", {.cpu = &cpu::embedding}};

}  // namespace

Result<EmbeddingTable> EmbeddingTable::load(Device device, const quant::MatrixView& m) {
  return guarded([&]() -> Result<EmbeddingTable> {
    HALYARD_TRY(quant::validate(m));
    if (m.k > std::numeric_limits<std::uint32_t>::max())
      return fail(Errc::unsupported, fmt::format("{}: rows of {} elements are longer than 2^32", m.name, m.k));
    EmbeddingTable table;
    table.format_ = m.format;
    table.dtype_ = m.dtype;
    table.n_ = m.n;
    table.k_ = m.k;
    table.bits_ = m.bits;
    table.group_size_ = m.format == quant::Format::affine ? m.group_size : 0;
    const auto import = [&](std::span<const std::byte> bytes) {
      return device.import_or_copy(m.owner, bytes.data(), DType::u8, {bytes.size()});
    };
    table.data_ = HALYARD_TRY(import(m.data));
    table.scales_ = m.scales.empty() ? table.data_ : HALYARD_TRY(import(m.scales));
    table.biases_ = m.biases.empty() ? table.data_ : HALYARD_TRY(import(m.biases));
    return table;
  });
}

Result<void> embedding(CommandEncoder& encoder, const Buffer& ids, const EmbeddingTable& table, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    if (!table.data_) return fail(Errc::invalid_argument, "embedding: the table was never loaded");
    if (!ids || !out)
      return fail(Errc::invalid_argument, fmt::format("embedding: {} is a null buffer", ids ? "out" : "ids"));
    if (ids.dtype() != DType::i32 || ids.shape().rank() != 1)
      return fail(Errc::invalid_argument, fmt::format("embedding: ids must be i32 [T], got {} {}",
                                                      to_string(ids.dtype()), to_string(ids.shape())));
    const Shape expected{ids.shape()[0], table.k_};
    if (out.dtype() != DType::f32 || out.shape() != expected)
      return fail(Errc::invalid_argument, fmt::format("embedding: out must be f32 {}, got {} {}", to_string(expected),
                                                      to_string(out.dtype()), to_string(out.shape())));
    HALYARD_TRY(check_writes("embedding", {"out", out}, {}, {{"ids", ids}}));  // the table is imported: never written
    const EmbeddingArgs args{table.n_, static_cast<std::uint32_t>(table.k_),
                             static_cast<std::uint32_t>(table.group_size_), table.bits_, table.dtype_};
    const Buffer buffers[] = {ids, table.data_, table.scales_, table.biases_, out};
    return encoder.dispatch(embedding_kernel, buffers, args);
  });
}

}  // namespace halyard::ops
