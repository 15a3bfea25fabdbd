// out[t, j] = table[ids[t], j], dequantised to f32. Limited by bytes; a handful of rows, so one portable kernel is enough.
#include "halyard/ops/embedding/embedding.h"

#include <limits>

#include <fmt/format.h>

#include "halyard/ops/check.h"
#include "halyard/quant/affine.h"

namespace halyard::ops {
namespace {

struct EmbeddingArgs {
  std::uint64_t n = 0;
  std::uint32_t k = 0, group = 0;  // group: 0 for dense tables
  std::int32_t bits = 0;
  DType dtype = DType::f32;
  std::uint64_t item_rows = 1;
};

// Bindings: ids, data, scales, biases, out. One work-item does `item_rows` ids.
void embedding_cpu(const CpuTile& t) {
  const auto& a = t.constants_as<EmbeddingArgs>();
  quant::MatrixView table;
  table.format = a.group ? quant::Format::affine : quant::Format::dense;
  table.n = a.n, table.k = a.k, table.dtype = a.dtype, table.bits = a.bits, table.group_size = static_cast<int>(a.group);
  table.data = {t.buffers[1], t.sizes[1]};
  table.scales = {t.buffers[2], t.sizes[2]};
  table.biases = {t.buffers[3], t.sizes[3]};
  const std::size_t ids = t.sizes[0] / sizeof(std::int32_t);
  for (std::size_t i = t.x0 * a.item_rows; i < ids && i < t.x1 * a.item_rows; ++i) {
    const std::int32_t id = t.as<const std::int32_t>(0)[i];
    if (id < 0 || static_cast<std::uint64_t>(id) >= a.n) {
      t.fail("token id %lld is outside the table of %lld rows", id, static_cast<long long>(a.n));
      return;
    }
    quant::dequantise_row(table, static_cast<std::size_t>(id), 0, {t.as<float>(4) + i * a.k, a.k});
  }
}

const KernelDef embedding_kernel = {"embedding", "rrrrw", {1}, cpu_portable<embedding_cpu>};

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
      return device.import_host(m.owner, bytes.data(), DType::u8, {bytes.size()});
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
    const EmbeddingArgs args{table.n_,
                             static_cast<std::uint32_t>(table.k_),
                             static_cast<std::uint32_t>(table.group_size_),
                             table.bits_,
                             table.dtype_,
                             rows_per_item(table.k_)};
    const Buffer buffers[] = {ids, table.data_, table.scales_, table.biases_, out};
    return encoder.dispatch({.kernel = HALYARD_TRY(encoder.kernel(embedding_kernel)),
                             .grid = {items(ids.shape()[0], args.item_rows)},
                             .buffers = buffers,
                             .constants = args});
  });
}

}  // namespace halyard::ops
