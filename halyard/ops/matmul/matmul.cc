#include "halyard/ops/matmul/matmul.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "halyard/ops/check.h"
#include "halyard/ops/matmul/kernels.h"

namespace halyard::ops {
namespace {

/// Its names with what it is called in front; `weights`: bindings of them.
#define HALYARD_PRODUCT(kind, weights)                                                                    \
  {{"matmul_" #kind, "r" weights "rw", {.cpu = &cpu::matmul_##kind}},                                     \
   {"matmul_" #kind "_add", "r" weights "rx", {.cpu = &cpu::matmul_##kind}},                              \
   {"experts_" #kind, "r" weights "rw", {.cpu = &cpu::experts_##kind}}}

const Product dense_f32 = HALYARD_PRODUCT(f32, "r");
const Product dense_f16 = HALYARD_PRODUCT(f16, "r");
const Product dense_bf16 = HALYARD_PRODUCT(bf16, "r");
const Product dense_bf16_fast = HALYARD_PRODUCT(bf16_fast, "r");
const Product affine_exact = HALYARD_PRODUCT(affine, "rrr");
const KernelDef pack_kernel = {"pack_activations", "rw", {.cpu = &cpu::pack_activations}};

}  // namespace

const Product affine4_fast = HALYARD_PRODUCT(affine4_fast, "r");
const Product affine8_fast = HALYARD_PRODUCT(affine8_fast, "r");
#undef HALYARD_PRODUCT

namespace {

// f(0) … f(count - 1), on as many threads as can be had.
template <class F>
void in_parallel(std::size_t count, int threads, const F& f) {
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) f(i);
  };
  std::vector<std::thread> team;
  try {
    for (int i = 1; i < threads; ++i) team.emplace_back(work);
  } catch (const std::exception&) {  // no more threads: this one does the rest
  }
  work();
  for (std::thread& t : team) t.join();
}

// Fills [count, bytes] with what write(i, row) makes of each row: in place where the host sees the memory, else a few at a
// time.
template <class F>
Result<void> fill_rows(Device& device, Buffer& to, std::size_t count, std::size_t bytes, const F& write) {
  constexpr std::size_t at_once = std::size_t{4} << 20;  // bytes: also from where on threads are worth starting
  const int threads = count * bytes > at_once ? device.capabilities().threads : 1;
  if (device.capabilities().host_visible) {
    const std::span<std::uint8_t> out = HALYARD_TRY(to.map<std::uint8_t>());
    in_parallel(count, threads, [&](std::size_t i) { write(i, reinterpret_cast<std::byte*>(out.data()) + i * bytes); });
    return {};
  }
  const std::size_t rows = std::max<std::size_t>(1, at_once / std::max<std::size_t>(bytes, 1));
  std::vector<std::uint8_t> staged;
  for (std::size_t first = 0; first < count; first += rows) {
    const std::size_t n = std::min(rows, count - first);
    staged.assign(n * bytes, 0);
    in_parallel(n, threads,
                [&](std::size_t i) { write(first + i, reinterpret_cast<std::byte*>(staged.data()) + i * bytes); });
    Buffer window = HALYARD_TRY(to.view(first * bytes, DType::u8, {n * bytes}));
    HALYARD_TRY(window.write<std::uint8_t>(staged));
  }
  return {};
}

// Activations f32 [T, k]: T.
Result<std::size_t> positions_of(std::string_view op, const Buffer& x) {
  HALYARD_TRY(check_rank(op, "x", x, {DType::f32}, 2));
  return x.shape()[0];
}

}  // namespace

struct Weight::Impl {
  const Product* product = nullptr;
  MatmulArgs args;
  std::array<Buffer, 3> weights;  // as many as `bindings`: data, then affine exact: scales and biases
  std::size_t bindings = 1;
};

struct MatmulAccess {
  static const Weight::Impl* impl(const Weight& w) { return w.impl_.get(); }
};

namespace {

/// Whether they lie one behind the other in one owner's memory.
bool adjoin(std::span<const quant::MatrixView> all, std::span<const std::byte> quant::MatrixView::*part) {
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].owner != all[0].owner || (all[i].*part).data() != (all[i - 1].*part).data() + (all[i - 1].*part).size()) return false;
  return true;
}

/// The bytes of one part of all matrices: where they lie, or copied together.
Result<Buffer> together(Device& device, std::span<const quant::MatrixView> all,
                        std::span<const std::byte> quant::MatrixView::*part) {
  const std::size_t bytes = (all[0].*part).size();
  if (adjoin(all, part))
    return device.import_or_copy(all[0].owner, (all[0].*part).data(), DType::u8, {all.size() * bytes});
  Buffer copy = HALYARD_TRY(device.alloc(DType::u8, {all.size(), bytes}));
  HALYARD_TRY(fill_rows(device, copy, all.size(), bytes,
                        [&](std::size_t i, std::byte* out) { std::memcpy(out, (all[i].*part).data(), bytes); }));
  return copy;
}

}  // namespace

Result<Weight> Weight::load(Device device, const quant::MatrixView& m, Precision precision) {
  Weight w = HALYARD_TRY(load_experts(std::move(device), std::span(&m, 1), precision));
  w.experts_ = 0;
  return w;
}

Result<Weight> Weight::load_experts(Device device, std::span<const quant::MatrixView> all, Precision precision) {
  return guarded([&]() -> Result<Weight> {
    if (all.empty()) return fail(Errc::invalid_argument, "experts without a matrix");
    const quant::MatrixView& m = all[0];
    for (const quant::MatrixView& each : all) {
      HALYARD_TRY(quant::validate(each));
      if (each.format != m.format || each.n != m.n || each.k != m.k || each.dtype != m.dtype || each.bits != m.bits ||
          each.group_size != m.group_size)
        return fail(Errc::unsupported,
                    fmt::format("{} and {} are experts of one layer: expected one shape and format", m.name, each.name));
    }
    constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
    if (m.n > most || m.k > most)
      return fail(Errc::unsupported, fmt::format("{}: [{}, {}] has an extent of more than 2^31", m.name, m.n, m.k));
    const bool fast = precision == Precision::fast;
    const bool affine = m.format == quant::Format::affine;
    Impl w;
    w.args = {.n = static_cast<std::uint32_t>(m.n),
              .k = static_cast<std::uint32_t>(m.k),
              .group = static_cast<std::uint32_t>(m.group_size),
              .bits = static_cast<std::uint8_t>(m.bits),
              .dtype = m.dtype};
    if (affine && fast) {
      const std::size_t panels = panels_of(m.n), bytes = panel_bytes(m);
      w.product = panel_bits(m.bits) == 4 ? &affine4_fast : &affine8_fast;
      w.weights[0] = HALYARD_TRY(device.alloc(DType::u8, {all.size() * panels, bytes}));
      HALYARD_TRY(fill_rows(device, w.weights[0], all.size() * panels, bytes, [&](std::size_t p, std::byte* out) {
        repack_panel(all[p / panels], p % panels, out);
      }));
    } else {
      w.weights[0] = HALYARD_TRY(together(device, all, &quant::MatrixView::data));
      if (affine) {
        w.product = &affine_exact;
        w.bindings = 3;
        w.weights[1] = HALYARD_TRY(together(device, all, &quant::MatrixView::scales));
        w.weights[2] = HALYARD_TRY(together(device, all, &quant::MatrixView::biases));
      } else {
        w.product = m.dtype == DType::f32   ? &dense_f32
                    : m.dtype == DType::f16 ? &dense_f16
                    : fast                  ? &dense_bf16_fast
                                            : &dense_bf16;
      }
    }
    Weight weight;
    weight.n_ = m.n;
    weight.k_ = m.k;
    weight.experts_ = all.size();
    weight.packed_ = affine && fast;
    weight.impl_ = std::make_shared<const Impl>(std::move(w));
    return weight;
  });
}

std::size_t Weight::bytes() const {
  std::size_t sum = 0;
  if (impl_)
    for (const Buffer& b : impl_->weights) sum += b.size_bytes();
  return sum;
}

std::size_t packed_bytes(std::size_t t, std::size_t k) { return t * (k / 32) * sizeof(PackedGroup); }

Result<void> pack_activations(CommandEncoder& encoder, const Buffer& x, const Buffer& packed) {
  return guarded([&]() -> Result<void> {
    const std::size_t t = HALYARD_TRY(positions_of("pack_activations", x)), k = x.shape()[1];
    if (k % 32 != 0) return bad_argument("pack_activations", "x", "whole groups of 32 columns", to_string(x.shape()));
    HALYARD_TRY(check_tensor("pack_activations", "packed", packed, {DType::u8}, {packed_bytes(t, k)}));
    HALYARD_TRY(check_writes("pack_activations", {"packed", packed}, {}, {{"x", x}}));
    const Buffer buffers[] = {x, packed};
    return encoder.dispatch(pack_kernel, buffers, PackConstants{k / 32, t});
  });
}

Result<void> matmul(CommandEncoder& encoder, const Activations& a, const Weight& weight, const Buffer& out,
                    const MatmulOptions& options) {
  return guarded([&]() -> Result<void> {
    const Weight::Impl* w = MatmulAccess::impl(weight);
    if (!w) return fail(Errc::invalid_argument, "matmul: the weight was never loaded");
    if (weight.experts() != 0)
      return fail(Errc::invalid_argument, fmt::format("matmul: the weight is {} experts: see matmul_experts", weight.experts()));
    const std::size_t n = weight.rows(), k = weight.columns();
    const std::size_t t = HALYARD_TRY(positions_of("matmul", a.x));
    HALYARD_TRY(check_tensor("matmul", "x", a.x, {DType::f32}, {t, k}));
    if (weight.wants_packed())
      HALYARD_TRY(check_tensor("matmul", "packed", a.packed, {DType::u8}, {packed_bytes(t, k)}));
    HALYARD_TRY(check_tensor("matmul", "out", out, {DType::f32}, {t, n}));
    if (options.bias) HALYARD_TRY(check_tensor("matmul", "bias", options.bias, {DType::f32}, {n}));
    HALYARD_TRY(
        check_writes("matmul", {"out", out}, {},
                     {{"x", a.x}, {"packed", a.packed}, {"bias", options.bias}, {"the weight", w->weights[0]}}));

    MatmulArgs args = w->args;
    args.positions = t;
    args.has_bias = options.bias ? 1 : 0;
    args.accumulate = options.accumulate ? 1 : 0;
    const KernelDef& def = options.accumulate ? w->product->accumulate : w->product->store;

    std::array<Buffer, 6> buffers;
    std::size_t bound = 0;
    buffers[bound++] = weight.wants_packed() ? a.packed : a.x;
    for (std::size_t i = 0; i < w->bindings; ++i) buffers[bound++] = w->weights[i];
    buffers[bound++] = options.bias ? options.bias : w->weights[0];  // a stand-in, not read
    buffers[bound++] = out;
    return encoder.dispatch(def, std::span(buffers).first(bound), args);
  });
}

Result<void> matmul_experts(CommandEncoder& encoder, const Activations& a, const Weight& weight, const Buffer& starts,
                            const Buffer& out) {
  return guarded([&]() -> Result<void> {
    constexpr std::string_view op = "matmul_experts";
    const Weight::Impl* w = MatmulAccess::impl(weight);
    if (!w || weight.experts() == 0) return fail(Errc::invalid_argument, "matmul_experts: the weight is no experts'");
    const std::size_t n = weight.rows(), k = weight.columns(), t = HALYARD_TRY(positions_of(op, a.x));
    HALYARD_TRY(check_tensor(op, "x", a.x, {DType::f32}, {t, k}));
    if (weight.wants_packed()) HALYARD_TRY(check_tensor(op, "packed", a.packed, {DType::u8}, {packed_bytes(t, k)}));
    HALYARD_TRY(check_tensor(op, "starts", starts, {DType::i32}, {weight.experts() + 1}));
    HALYARD_TRY(check_tensor(op, "out", out, {DType::f32}, {t, n}));
    HALYARD_TRY(check_writes(op, {"out", out}, {},
                             {{"x", a.x}, {"packed", a.packed}, {"starts", starts}, {"the weight", w->weights[0]}}));
    ExpertArgs args = {.product = w->args, .strides = {}, .experts = static_cast<std::uint32_t>(weight.experts())};
    args.product.positions = t;
    std::array<Buffer, 6> buffers;
    std::size_t bound = 0;
    buffers[bound++] = weight.wants_packed() ? a.packed : a.x;
    for (std::size_t i = 0; i < w->bindings; ++i) {
      buffers[bound++] = w->weights[i];
      args.strides[i] = w->weights[i].size_bytes() / weight.experts();
    }
    buffers[bound++] = starts;
    buffers[bound++] = out;
    return encoder.dispatch(w->product->experts, std::span(buffers).first(bound), args);
  });
}

}  // namespace halyard::ops
