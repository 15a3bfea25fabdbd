// gather_rows: out[i] = x[rows[i]]. Limited by bytes, which the C library moves as fast as they go.
#include "halyard/ops/copy/cpu.h"

#include <cstring>

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {
namespace {

void gather(const CpuTile& t) {
  const auto& c = t.constants_as<GatherConstants>();
  for (std::uint64_t i = t.x0; i < t.x1; ++i) {
    const std::int32_t row = t.as<const std::int32_t>(1)[i];
    if (row < 0 || static_cast<std::uint64_t>(row) >= c.rows)
      return t.fail("row %lld is outside a matrix of %lld rows", row, static_cast<long long>(c.rows));
    std::memcpy(t.buffers[2] + i * c.row_bytes, t.buffers[0] + static_cast<std::uint64_t>(row) * c.row_bytes,
                c.row_bytes);
  }
}

}  // namespace

const CpuForm copy = {.select = HALYARD_CPU_KERNEL(copy_cpu), .launch = [](const LaunchInputs& in) {
                        return in_elements(in.arguments.as<CopyConstants>().elements, 4 * kTileElements);
                      }};
const CpuForm gather_rows = {.select = cpu_form<gather>.select, .launch = [](const LaunchInputs& in) {
                               const auto c = in.arguments.as<GatherConstants>();
                               return in_rows(c.n, c.row_bytes / sizeof(float));
                             }};

}  // namespace halyard::ops::cpu
