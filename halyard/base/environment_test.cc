#include "halyard/base/environment.h"

#include <gtest/gtest.h>

namespace halyard {
namespace {

TEST(Environment, SetToNothingCountsAsNotSet) {
  ASSERT_EQ(::setenv("HALYARD_TEST_SWITCH", "", 1), 0);
  EXPECT_FALSE(environment("HALYARD_TEST_SWITCH"));
  EXPECT_TRUE(environment_switch("HALYARD_TEST_SWITCH", true));
  EXPECT_FALSE(environment_switch("HALYARD_TEST_SWITCH", false));
  ASSERT_EQ(::setenv("HALYARD_TEST_SWITCH", "0", 1), 0);
  EXPECT_FALSE(environment_switch("HALYARD_TEST_SWITCH", true));
  ASSERT_EQ(::setenv("HALYARD_TEST_SWITCH", "1", 1), 0);
  EXPECT_TRUE(environment_switch("HALYARD_TEST_SWITCH", false));
  ASSERT_EQ(::unsetenv("HALYARD_TEST_SWITCH"), 0);
  EXPECT_FALSE(environment("HALYARD_TEST_SWITCH"));
}

}  // namespace
}  // namespace halyard
