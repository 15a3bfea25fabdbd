// What this processor can do at most, measured on the spot: what a kernel's speed is held against.
#pragma once

#include "halyard/base/result.h"
#include "halyard/hal/cpu/isa.h"

namespace halyard {

/// Totals over all threads measured.
struct CpuLimits {
  double read_gb_s = 0;  ///< 10^9 bytes a second, streamed from memory far larger than the caches
  double int8_gop_s =
      0;  ///< 10^9 multiplies and adds a second of 8-bit integers into 32-bit sums; 0: no instruction for it
  double bf16_gflop_s = 0;  ///< likewise of bf16 dot products into f32; 0: no instruction for it
  double f32_gflop_s = 0;   ///< likewise of f32
};

/// Measures with `threads` threads at once (at least one) and instructions up to `isa`, at most what the processor has.
/// Takes about a second and 512 MiB; where the memory cannot be had, read_gb_s is 0. An error where a thread cannot be started.
Result<CpuLimits> measure_cpu_limits(int threads, Isa isa);

}  // namespace halyard
