// out[t, j] = table[ids[t], j], dequantised to f32. Limited by bytes; a handful of rows, so one portable kernel is enough.
#include "halyard/ops/cpu/launch.h"
#include "halyard/ops/embedding/kernels.h"
#include "halyard/quant/affine.h"

namespace halyard::ops::cpu {
namespace {

// Work-items: ids.
void look_up(const CpuTile& t) {
  const auto& a = t.constants_as<EmbeddingArgs>();
  quant::MatrixView table;
  table.format = a.group ? quant::Format::affine : quant::Format::dense;
  table.n = a.n, table.k = a.k, table.dtype = a.dtype, table.bits = a.bits,
  table.group_size = static_cast<int>(a.group);
  table.data = {t.buffers[1], t.sizes[1]};
  table.scales = {t.buffers[2], t.sizes[2]};
  table.biases = {t.buffers[3], t.sizes[3]};
  for (std::size_t i = t.x0; i < t.x1; ++i) {
    const std::int32_t id = t.as<const std::int32_t>(0)[i];
    if (id < 0 || static_cast<std::uint64_t>(id) >= a.n) {
      t.fail("token id %lld is outside the table of %lld rows", id, static_cast<long long>(a.n));
      return;
    }
    quant::dequantise_row(table, static_cast<std::size_t>(id), 0, {t.as<float>(4) + i * a.k, a.k});
  }
}

}  // namespace

const CpuForm embedding = {.select = cpu_form<look_up>.select, .launch = [](const LaunchInputs& in) {
                             return in_rows(in.sizes[0] / sizeof(std::int32_t), in.arguments.as<EmbeddingArgs>().k);
                           }};

}  // namespace halyard::ops::cpu
