#include "halyard/ops/matmul/matmul.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <limits>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "halyard/ops/check.h"
#include "halyard/ops/matmul/kernels.h"

namespace halyard::ops {
namespace {

constexpr Grid rows_tile{tile_rows, tile_positions};
constexpr Grid panels_tile{tile_rows / panel_rows, tile_positions};

constexpr Product product(std::string_view store, std::string_view accumulate, AccessList reads_write, AccessList reads_both,
                          Grid tile, CpuKernelSelect cpu) {
  return {{store, reads_write, tile, cpu, true}, {accumulate, reads_both, tile, cpu, true}};
}

const Product dense_f32 = product("matmul_f32", "matmul_f32_add", "rrrw", "rrrx", rows_tile, HALYARD_CPU_KERNEL(matmul_f32_cpu));
const Product dense_f16 = product("matmul_f16", "matmul_f16_add", "rrrw", "rrrx", rows_tile, HALYARD_CPU_KERNEL(matmul_f16_cpu));
const Product dense_bf16 =
    product("matmul_bf16", "matmul_bf16_add", "rrrw", "rrrx", rows_tile, HALYARD_CPU_KERNEL(matmul_bf16_cpu));
const Product dense_bf16_fast =
    product("matmul_bf16_fast", "matmul_bf16_fast_add", "rrrw", "rrrx", rows_tile, HALYARD_CPU_KERNEL(matmul_bf16_fast_cpu));
const Product affine_exact =
    product("matmul_affine", "matmul_affine_add", "rrrrrw", "rrrrrx", rows_tile, HALYARD_CPU_KERNEL(matmul_affine_cpu));
const KernelDef pack_kernel = {"pack_activations", "rw", {256, 8}, HALYARD_CPU_KERNEL(pack_activations_cpu)};

}  // namespace

const Product affine4_fast = product("matmul_affine4_fast", "matmul_affine4_fast_add", "rrrw", "rrrx", panels_tile,
                                     HALYARD_CPU_KERNEL(matmul_affine4_fast_cpu));
const Product affine8_fast = product("matmul_affine8_fast", "matmul_affine8_fast_add", "rrrw", "rrrx", panels_tile,
                                     HALYARD_CPU_KERNEL(matmul_affine8_fast_cpu));

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

Result<Buffer> import_span(Device& device, const quant::MatrixView& m, std::span<const std::byte> bytes) {
  return device.import_host(m.owner, bytes.data(), DType::u8, {bytes.size()});
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
  std::uint64_t grid_rows = 0;                       // rows, or panels of rows
  std::size_t scratch(std::size_t positions) const;  // bytes a thread
};

struct MatmulAccess {
  static const Weight::Impl* impl(const Weight& w) { return w.impl_.get(); }
};

std::size_t Weight::Impl::scratch(std::size_t positions) const {
  if (product == &affine_exact) return dequantised_rows * chunk * sizeof(float);
  if (product != &dense_bf16_fast) return 0;
  // A tile of one position can also be the last of many.
  const std::size_t several = std::min<std::size_t>(positions, tile_positions) * std::min<std::size_t>(args.k, span_several);
  return 2 * std::max(std::min<std::size_t>(args.k, span_single), several);
}

Result<Weight> Weight::load(Device device, const quant::MatrixView& m, Precision precision) {
  return guarded([&]() -> Result<Weight> {
    HALYARD_TRY(quant::validate(m));
    constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
    if (m.n > most || m.k > most)
      return fail(Errc::unsupported, fmt::format("{}: [{}, {}] has an extent of more than 2^31", m.name, m.n, m.k));
    const bool fast = precision == Precision::fast;
    const bool affine = m.format == quant::Format::affine;
    Impl w;
    w.args = {static_cast<std::uint32_t>(m.n), static_cast<std::uint32_t>(m.k),
              static_cast<std::uint32_t>(m.group_size), static_cast<std::uint8_t>(m.bits), m.dtype};
    w.grid_rows = m.n;
    if (affine && fast) {
      const std::size_t panels = panels_of(m.n), bytes = panel_bytes(m);
      w.product = panel_bits(m.bits) == 4 ? &affine4_fast : &affine8_fast;
      w.grid_rows = panels;
      w.weights[0] = HALYARD_TRY(device.alloc(DType::u8, {panels, bytes}));
      const std::span<std::uint8_t> out = HALYARD_TRY(w.weights[0].map<std::uint8_t>());
      const int threads = out.size() > (std::size_t{4} << 20) ? device.capabilities().threads : 1;
      in_parallel(panels, threads,
                  [&](std::size_t p) { repack_panel(m, p, reinterpret_cast<std::byte*>(out.data()) + p * bytes); });
    } else {
      w.weights[0] = HALYARD_TRY(import_span(device, m, m.data));
      if (affine) {
        w.product = &affine_exact;
        w.bindings = 3;
        w.weights[1] = HALYARD_TRY(import_span(device, m, m.scales));
        w.weights[2] = HALYARD_TRY(import_span(device, m, m.biases));
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
    return encoder.dispatch(
        {.kernel = HALYARD_TRY(encoder.kernel(pack_kernel)), .grid = {k / 32, t}, .buffers = buffers});
  });
}

Result<void> matmul(CommandEncoder& encoder, const Activations& a, const Weight& weight, const Buffer& out,
                    const MatmulOptions& options) {
  return guarded([&]() -> Result<void> {
    const Weight::Impl* w = MatmulAccess::impl(weight);
    if (!w) return fail(Errc::invalid_argument, "matmul: the weight was never loaded");
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
    args.has_bias = options.bias ? 1 : 0;
    args.accumulate = options.accumulate ? 1 : 0;
    const KernelDef& def = options.accumulate ? w->product->accumulate : w->product->store;

    std::array<Buffer, 6> buffers;
    std::size_t bound = 0;
    buffers[bound++] = weight.wants_packed() ? a.packed : a.x;
    for (std::size_t i = 0; i < w->bindings; ++i) buffers[bound++] = w->weights[i];
    buffers[bound++] = options.bias ? options.bias : w->weights[0];  // a stand-in, not read
    buffers[bound++] = out;
    return encoder.dispatch({.kernel = HALYARD_TRY(encoder.kernel(def)),
                             .grid = {w->grid_rows, t},
                             .buffers = std::span(buffers).first(bound),
                             .constants = args,
                             .shared_bytes = w->scratch(t)});
  });
}

}  // namespace halyard::ops
