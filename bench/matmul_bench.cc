// Products of the shapes that llama-3.2-1b and the shipped model have, against what the processor can do at most:
// bytes of weights a second for one position, operations a second for many.
//   matmul_bench [threads]
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "halyard/hal/cpu/limits.h"
#include "halyard/hal/device.h"
#include "halyard/ops/matmul/matmul.h"

namespace {

using namespace halyard;
using Clock = std::chrono::steady_clock;

struct Kind {
  const char* name;
  quant::Format format;
  DType dtype;
  int bits, group;
  ops::Precision precision;
  double CpuLimits::*peak;  // of its arithmetic
};
const Kind kinds[] = {
    {"affine4 fast", quant::Format::affine, DType::bf16, 4, 64, ops::Precision::fast, &CpuLimits::int8_gop_s},
    {"affine8 fast", quant::Format::affine, DType::bf16, 8, 64, ops::Precision::fast, &CpuLimits::int8_gop_s},
    {"bf16 fast", quant::Format::dense, DType::bf16, 0, 0, ops::Precision::fast, &CpuLimits::bf16_gflop_s},
    {"f16", quant::Format::dense, DType::f16, 0, 0, ops::Precision::exact, &CpuLimits::f32_gflop_s},
    {"f32", quant::Format::dense, DType::f32, 0, 0, ops::Precision::exact, &CpuLimits::f32_gflop_s},
    {"affine4 exact", quant::Format::affine, DType::bf16, 4, 64, ops::Precision::exact, &CpuLimits::f32_gflop_s},
};

struct Extent {
  std::size_t n, k;
};
const Extent extents[] = {{2048, 2048}, {8192, 2048}, {2048, 8192}, {128256, 2048},
                          {512, 512},   {1536, 512},  {512, 1536},  {8192, 512}};

quant::MatrixView random_matrix(const Kind& kind, Extent e) {
  struct Memory {
    std::vector<std::uint32_t> data, scales;
  };
  const auto memory = std::make_shared<Memory>();
  quant::MatrixView m;
  m.name = kind.name;
  m.format = kind.format;
  m.n = e.n, m.k = e.k, m.dtype = kind.dtype, m.bits = kind.bits, m.group_size = kind.group;
  memory->data.resize(e.n * quant::row_bytes(m) / 4);
  std::minstd_rand random;
  // Bits that are small numbers in every dtype.
  for (std::uint32_t& v : memory->data) v = 0x2c002c00U | (static_cast<std::uint32_t>(random()) & 0x83ff83ffU);
  m.data = std::as_bytes(std::span(memory->data));
  if (kind.bits) {
    memory->scales.assign(e.n * (e.k / static_cast<std::size_t>(kind.group)) / 2, 0x3c003c00U);
    m.scales = m.biases = std::as_bytes(std::span(memory->scales));
  }
  m.owner = memory;
  return m;
}

// Seconds for one product: the best of some runs of `count` in one command buffer.
Result<double> seconds_of(Device& device, const ops::Weight& w, std::size_t t, std::size_t count) {
  const std::size_t k = w.columns();
  ops::Activations a{HALYARD_TRY(device.alloc(DType::f32, {t, k})),
                     HALYARD_TRY(device.alloc(DType::u8, {ops::packed_bytes(t, k)}))};
  std::vector<float> x(t * k);
  std::mt19937 random;
  for (float& v : x) v = std::normal_distribution<float>()(random);
  HALYARD_TRY(a.x.write<float>(x));
  const Buffer out = HALYARD_TRY(device.alloc(DType::f32, {t, w.rows()}));
  CommandEncoder first = HALYARD_TRY(device.command_encoder());
  HALYARD_TRY(ops::pack_activations(first, a.x, a.packed));
  HALYARD_TRY(first.commit_and_wait());

  double best = 1e9, spent = 0;
  for (int run = 0; run < 100 && (run < 5 || spent < 0.3); ++run) {
    CommandEncoder e = HALYARD_TRY(device.command_encoder());
    for (std::size_t i = 0; i < count; ++i) HALYARD_TRY(ops::matmul(e, a, w, out));
    const auto begin = Clock::now();
    HALYARD_TRY(e.commit_and_wait());
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    spent += seconds;
    best = std::min(best, seconds / static_cast<double>(count));
  }
  return best;
}

Result<void> measure(int threads) {
  Device device = HALYARD_TRY(Device::open("cpu", {.cpu = {.threads = threads}}));
  const int team = device.capabilities().threads;
  const CpuLimits limits = HALYARD_TRY(measure_cpu_limits(team, best_isa()));
  fmt::print("{} threads, {}: read {:.1f} GB/s, int8 {:.0f} Gop/s, bf16 {:.0f} GFLOP/s, f32 {:.0f} GFLOP/s\n", team,
             device.capabilities().isa, limits.read_gb_s, limits.int8_gop_s, limits.bf16_gflop_s, limits.f32_gflop_s);
  for (const Kind& kind : kinds)
    for (const Extent& e : extents) {
      if (e.n > 100000 && !kind.bits) continue;
      const quant::MatrixView matrix = random_matrix(kind, e);
      const auto loading = Clock::now();
      const ops::Weight w = HALYARD_TRY(ops::Weight::load(device, matrix, kind.precision));
      const double load = std::chrono::duration<double>(Clock::now() - loading).count();
      for (const std::size_t t : {1, 512}) {
        if (t > 1 && e.n > 100000) continue;
        const double mega_products = static_cast<double>(e.n * e.k * t) / 1e6;
        const double s = HALYARD_TRY(seconds_of(device, w, t, mega_products < 10 ? 50 : 1));
        const double gb = static_cast<double>(w.bytes()) / s / 1e9, gop = 2e-3 * mega_products / s;
        const double peak = limits.*kind.peak > 0 ? limits.*kind.peak : limits.f32_gflop_s;
        // The caches hold the smaller matrices: more than 100 % of what memory gives is right.
        fmt::print(
            "{:14} {:6} x {:4}  T {:3}  {:9.1f} us  {:6.1f} GB/s  {:6.1f} Gop/s  {:3.0f} % of {}  load {:.3f} s\n",
            kind.name, e.n, e.k, t, s * 1e6, gb, gop, t == 1 ? 100 * gb / limits.read_gb_s : 100 * gop / peak,
            t == 1 ? "read" : "peak", load);
      }
    }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto done = measure(argc > 1 ? std::atoi(argv[1]) : 0);
  if (!done) fmt::print(stderr, "matmul_bench: {}\n", done.error().str());
  return done ? 0 : 1;
}
