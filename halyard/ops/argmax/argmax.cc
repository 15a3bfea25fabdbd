#include "halyard/ops/argmax/argmax.h"

#include <limits>

#include "halyard/ops/argmax/kernels.h"
#include "halyard/ops/check.h"

namespace halyard::ops {
namespace {

const KernelDef argmax_def = {"argmax_f32", "rw", {.cpu = &cpu::argmax}};

}  // namespace

Result<void> argmax(CommandEncoder& e, const Buffer& x, const Buffer& out) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_rank("argmax", "x", x, {DType::f32}, 0));
    const auto dims = x.shape().dims();
    HALYARD_TRY(check_tensor("argmax", "out", out, {DType::i32}, Shape(dims.first(dims.size() - 1))));
    HALYARD_TRY(check_writes("argmax", {"out", out}, {}, {{"x", x}}));
    const std::size_t rows = out.shape().elements(), width = dims.back();
    if (rows == 0) return {};
    if (width == 0 || width > std::numeric_limits<std::int32_t>::max() - 64)
      return bad_argument("argmax", "x", "rows of 1 to 2^31 - 65 elements", to_string(x.shape()));
    const Buffer buffers[] = {x, out};
    return e.dispatch(argmax_def, buffers, ArgmaxConstants{rows, width});
  });
}

}  // namespace halyard::ops
