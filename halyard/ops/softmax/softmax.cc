#include "halyard/ops/softmax/softmax.h"

#include "halyard/ops/check.h"
#include "halyard/ops/softmax/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef softmax_def = {"softmax_f32", "rw", {}, HALYARD_CPU_KERNEL(softmax_cpu)};

}  // namespace

Result<void> softmax(CommandEncoder& e, const Buffer& x, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_rank("softmax", "x", x, {DType::f32}, 0));
    HALYARD_TRY(check_tensor("softmax", "out", out, {DType::f32}, x.shape()));
    HALYARD_TRY(check_writes("softmax", {"out", out}, {{"x", x}}, {}));
    const std::size_t elements = x.shape().elements(), width = x.shape().back();
    if (elements == 0) return {};
    const SoftmaxConstants c = {elements / width, width, rows_per_item(width)};
    const Buffer buffers[] = {x, out};
    return e.dispatch({.kernel = HALYARD_TRY(e.kernel(softmax_def)),
                       .grid = {items(c.rows, c.item_rows)},
                       .buffers = buffers,
                       .constants = c});
  });
}

}  // namespace halyard::ops
