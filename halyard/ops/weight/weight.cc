#include "halyard/ops/weight/weight.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/ops/weight/layout.h"

namespace halyard::ops {
namespace {

// f(0) … f(count - 1), on as many threads as can be had.
template <class F> void in_parallel(std::size_t count, int threads, const F& f) {
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

/// Whether they lie one behind the other in one owner's memory.
bool adjoin(std::span<const quant::MatrixView> all, std::span<const std::byte> quant::MatrixView::*part) {
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].owner != all[0].owner || (all[i].*part).data() != (all[i - 1].*part).data() + (all[i - 1].*part).size())
      return false;
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

/// The fields that experts of one layer have in common.
bool alike(const quant::MatrixView& a, const quant::MatrixView& b) {
  return a.format == b.format && a.n == b.n && a.k == b.k && a.dtype == b.dtype && a.bits == b.bits &&
         a.group_size == b.group_size;
}

/// Brings the matrices into the layout's memory.
Result<void> bring(Device& device, std::span<const quant::MatrixView> all, Weight::Impl& w) {
  const quant::MatrixView& m = all[0];
  const Layout& l = *w.layout;
  if (l.pack) {
    const std::size_t units = l.units(m.n), bytes = l.unit_bytes(m);
    w.memory[0] = HALYARD_TRY(device.alloc(DType::u8, {all.size() * units, bytes}));
    return fill_rows(device, w.memory[0], all.size() * units, bytes,
                     [&](std::size_t i, std::byte* out) { l.pack(all[i / units], i % units, out); });
  }
  w.memory[0] = HALYARD_TRY(together(device, all, &quant::MatrixView::data));
  if (m.scales.empty()) return {};
  w.bindings = 3;
  w.memory[1] = HALYARD_TRY(together(device, all, &quant::MatrixView::scales));
  w.memory[2] = HALYARD_TRY(together(device, all, &quant::MatrixView::biases));
  return {};
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
      if (!alike(each, m))
        return fail(Errc::unsupported, fmt::format("{} and {} are experts of one layer: expected one shape and format",
                                                   m.name, each.name));
    }
    constexpr std::size_t most = std::numeric_limits<std::int32_t>::max();
    if (m.n > most || m.k > most)
      return fail(Errc::unsupported, fmt::format("{}: [{}, {}] has an extent of more than 2^31", m.name, m.n, m.k));
    const std::span<const Layout* const> layouts = cpu_layouts();
    const auto layout = std::ranges::find_if(layouts, [&](const Layout* l) { return l->takes(m, precision); });
    if (layout == layouts.end())
      return fail(Errc::unsupported, fmt::format("{}: {} has no layout for weights of this format", m.name,
                                                 device.capabilities().backend));
    Impl w;
    w.layout = *layout;
    w.n = static_cast<std::uint32_t>(m.n);
    w.k = static_cast<std::uint32_t>(m.k);
    w.group = m.format == quant::Format::affine ? static_cast<std::uint32_t>(m.group_size) : 0;
    w.bits = m.bits;
    w.dtype = m.dtype;
    HALYARD_TRY(bring(device, all, w));
    Weight weight;
    weight.n_ = m.n;
    weight.k_ = m.k;
    weight.experts_ = all.size();
    weight.dtype_ = m.dtype;
    weight.packed_ = w.layout->packed_activations;
    weight.impl_ = std::make_shared<const Impl>(std::move(w));
    return weight;
  });
}

std::size_t Weight::bytes() const {
  std::size_t sum = 0;
  if (impl_)
    for (const Buffer& b : impl_->memory) sum += b.size_bytes();
  return sum;
}

}  // namespace halyard::ops
