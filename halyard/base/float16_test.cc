#include "halyard/base/float16.h"

#include <cmath>

#include <gtest/gtest.h>

namespace halyard {
namespace {

TEST(Float16, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t b = 0; b < 65536; ++b) {
    const f16 x{static_cast<std::uint16_t>(b)};
    const float f = to_float(x);
    if (std::isnan(f)) EXPECT_TRUE(std::isnan(to_float(to_f16(f))));
    else EXPECT_EQ(to_f16(f).bits, b);
  }
}

TEST(Float16, RoundsToNearestEvenBetweenNeighbours) {
  for (std::uint32_t b = 0; b < 0x7bff; ++b) {  // every finite pair of neighbours
    const float lo = to_float(f16{static_cast<std::uint16_t>(b)});
    const float hi = to_float(f16{static_cast<std::uint16_t>(b + 1)});
    const float mid = (lo + hi) / 2;  // exact in f32
    EXPECT_EQ(to_f16(mid).bits, (b & 1) ? b + 1 : b);
    EXPECT_EQ(to_f16(std::nextafter(mid, 0.0F)).bits, b);
    EXPECT_EQ(to_f16(std::nextafter(mid, 1e30F)).bits, b + 1);
  }
}

TEST(Float16, BeyondTheRangeIsInfinite) {
  EXPECT_EQ(to_f16(65519.0F).bits, 0x7bff);
  EXPECT_EQ(to_f16(65520.0F).bits, 0x7c00);
  EXPECT_EQ(to_f16(-1e30F).bits, 0xfc00);
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(to_bf16(1.0F).bits, 0x3f80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f808000U)).bits, 0x3f80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f818000U)).bits, 0x3f82);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(NAN))));
}

}  // namespace
}  // namespace halyard
