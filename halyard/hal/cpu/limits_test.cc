#include "halyard/hal/cpu/limits.h"

#include <chrono>

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using testing::value;

TEST(CpuLimits, are_measured_where_the_instruction_exists) {
  const CpuLimits plain = value(measure_cpu_limits(1, Isa::plain));
  EXPECT_GT(plain.read_gb_s, 0);
  EXPECT_GT(plain.f32_gflop_s, 0);
  EXPECT_EQ(plain.int8_gop_s, 0);
  EXPECT_EQ(plain.bf16_gflop_s, 0);

  const Isa isa = best_isa();
  const CpuLimits best = value(measure_cpu_limits(2, isa));
  EXPECT_GT(best.read_gb_s, 0);
  EXPECT_GT(best.f32_gflop_s, 0);
#if defined(__x86_64__)
  EXPECT_EQ(best.int8_gop_s > 0, isa >= Isa::avx2);
  EXPECT_EQ(best.bf16_gflop_s > 0, isa >= Isa::avx512bf16);
#endif
}

TEST(CpuLimits, odd_arguments_are_brought_into_range) {
  const CpuLimits limits = value(measure_cpu_limits(-3, static_cast<Isa>(99)));
  EXPECT_GT(limits.f32_gflop_s, 0);
}

}  // namespace
}  // namespace halyard
