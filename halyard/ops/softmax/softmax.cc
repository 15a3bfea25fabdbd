#include "halyard/ops/softmax/softmax.h"

#include "halyard/ops/check.h"
#include "halyard/ops/softmax/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef softmax_def = {"softmax_f32", "rw", {.cpu = &cpu::softmax}};

}  // namespace

Result<void> softmax(CommandEncoder& e, const Buffer& x, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_rank("softmax", "x", x, {DType::f32}, 0));
    HALYARD_TRY(check_tensor("softmax", "out", out, {DType::f32}, x.shape()));
    HALYARD_TRY(check_writes("softmax", {"out", out}, {{"x", x}}, {}));
    const std::size_t elements = x.shape().elements(), width = x.shape().back();
    if (elements == 0) return {};
    const Buffer buffers[] = {x, out};
    return e.dispatch(softmax_def, buffers, SoftmaxConstants{elements / width, width});
  });
}

}  // namespace halyard::ops
