// Says once, at the start of each test program, which goldens the tests are held to.
#include <cstdio>

#include <gtest/gtest.h>

#include "halyard/testing/paths.h"

namespace halyard::testing {
namespace {

class Announce final : public ::testing::Environment {
  void SetUp() override {
    const bool whole = goldens() != source_dir() / "testdata" / "goldens";
    std::printf("goldens: %s%s\n", goldens().c_str(), whole ? "" : " (the subset that ships with the project)");
  }
};

[[maybe_unused]] const auto* const announce = ::testing::AddGlobalTestEnvironment(new Announce);

}  // namespace
}  // namespace halyard::testing
