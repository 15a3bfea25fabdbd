// out[t, j] = table[ids[t], j], dequantised to f32. Limited by bytes; a handful of rows, so one portable kernel is enough.
#include "halyard/ops/cpu/launch.h"
#include "halyard/ops/embedding/kernels.h"
#include "halyard/ops/weight/panels.h"
#include "halyard/quant/affine.h"

namespace halyard::ops::cpu {
namespace {

/// Calls row(id, out) for each id. Work-items: ids.
template <class Row> void look_up(const CpuTile& t, std::size_t out, const Row& row) {
  const auto& a = t.constants_as<EmbeddingArgs>();
  for (std::size_t i = t.x0; i < t.x1; ++i) {
    const std::int32_t id = t.as<const std::int32_t>(0)[i];
    if (id < 0 || static_cast<std::uint64_t>(id) >= a.n) {
      t.fail("token id %lld is outside the table of %lld rows", id, static_cast<long long>(a.n));
      return;
    }
    row(static_cast<std::size_t>(id), std::span(t.as<float>(out) + i * a.k, a.k));
  }
}

/// The table as its file has it.
quant::MatrixView in_file(const CpuTile& t) {
  const auto& a = t.constants_as<EmbeddingArgs>();
  quant::MatrixView m;
  m.format = a.group ? quant::Format::affine : quant::Format::dense;
  m.n = a.n, m.k = a.k, m.dtype = a.dtype, m.bits = a.bits, m.group_size = static_cast<int>(a.group);
  m.data = {t.buffers[1], t.sizes[1]};
  if (a.group) m.scales = {t.buffers[2], t.sizes[2]}, m.biases = {t.buffers[3], t.sizes[3]};
  return m;
}

template <std::size_t out> void look_up_rows(const CpuTile& t) {
  const quant::MatrixView table = in_file(t);
  look_up(t, out, [&](std::size_t id, std::span<float> row) { quant::dequantise_row(table, id, 0, row); });
}

void look_up_panels(const CpuTile& t) {
  const auto& a = t.constants_as<EmbeddingArgs>();
  look_up(t, 2, [&](std::size_t id, std::span<float> row) {
    decode_panel_row(t.buffers[1], a.bits, a.group, a.dtype, id, row);
  });
}

Launch in_ids(const LaunchInputs& in) {
  return in_rows(in.sizes[0] / sizeof(std::int32_t), in.arguments.as<EmbeddingArgs>().k);
}

}  // namespace

const CpuForm embedding_dense = {.select = cpu_form<look_up_rows<2>>.select, .launch = in_ids};
const CpuForm embedding_affine = {.select = cpu_form<look_up_rows<4>>.select, .launch = in_ids};
const CpuForm embedding_panels = {.select = cpu_form<look_up_panels>.select, .launch = in_ids};

}  // namespace halyard::ops::cpu
