#include "halyard/ops/elementwise/elementwise.h"

#include "halyard/ops/check.h"
#include "halyard/ops/elementwise/kernels.h"

namespace halyard::ops {
namespace {

const KernelDef add_def = {"add_f32", "rrw", {.cpu = &cpu::add}};
const KernelDef mul_def = {"mul_f32", "rrw", {.cpu = &cpu::mul}};
const KernelDef silu_mul_def = {"silu_mul_f32", "rrw", {.cpu = &cpu::silu_mul}};
const KernelDef gelu_exact_def = {"gelu_exact_f32", "rw", {.cpu = &cpu::gelu_exact}};
const KernelDef gelu_tanh_def = {"gelu_tanh_f32", "rw", {.cpu = &cpu::gelu_tanh}};

// Every buffer has the first one's shape; out is the last.
template <std::size_t n>
Result<void> elementwise(CommandEncoder& e, std::string_view op, const KernelDef& def, const Argument (&arguments)[n]) {
  return guarded([&]() -> Result<void> {
    const Buffer& out = arguments[n - 1].buffer;
    HALYARD_TRY(check_dtype(op, arguments[0].name, arguments[0].buffer, {DType::f32}));
    for (const Argument& a : arguments)
      HALYARD_TRY(check_tensor(op, a.name, a.buffer, {DType::f32}, arguments[0].buffer.shape()));
    for (const Argument& a : arguments) HALYARD_TRY(check_writes(op, {"out", out}, {a}, {}));
    const std::size_t elements = out.shape().elements();
    if (elements == 0) return {};
    Buffer buffers[n];
    for (std::size_t i = 0; i < n; ++i) buffers[i] = arguments[i].buffer;
    return e.dispatch(def, buffers, ElementwiseConstants{elements});
  });
}

}  // namespace

Result<void> add(CommandEncoder& e, const Buffer& a, const Buffer& b, const Buffer& out) {
  return elementwise(e, "add", add_def, {{"a", a}, {"b", b}, {"out", out}});
}
Result<void> mul(CommandEncoder& e, const Buffer& a, const Buffer& b, const Buffer& out) {
  return elementwise(e, "mul", mul_def, {{"a", a}, {"b", b}, {"out", out}});
}
Result<void> silu_mul(CommandEncoder& e, const Buffer& gate, const Buffer& up, const Buffer& out) {
  return elementwise(e, "silu_mul", silu_mul_def, {{"gate", gate}, {"up", up}, {"out", out}});
}
Result<void> gelu(CommandEncoder& e, const Buffer& x, const Buffer& out, Gelu form) {
  return elementwise(e, "gelu", form == Gelu::exact ? gelu_exact_def : gelu_tanh_def, {{"x", x}, {"out", out}});
}

}  // namespace halyard::ops
