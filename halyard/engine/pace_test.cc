#include "halyard/engine/pace.h"

#include <functional>

#include <gtest/gtest.h>

namespace halyard::engine {
namespace {

/// Reads a prompt beside rows that write; returns the steps that takes. Each step must come in under twice the usual time.
std::size_t read(Pace& pace, std::size_t writing, std::size_t prompt,
                 const std::function<double(std::size_t writing, std::size_t prompt, std::size_t at)>& cost) {
  std::size_t steps = 0;
  for (std::size_t at = 0; at < prompt; ++steps) {
    const std::size_t rows = std::min(pace.prompt_rows(writing), prompt - at);
    const double seconds = cost(writing, rows, at);
    EXPECT_LT(seconds, 2 * cost(writing, 0, 0)) << rows << " rows beside " << writing << " at " << at;
    pace.took(writing, rows, seconds);
    at += rows;
    if (steps > 100000) return steps;
  }
  return steps;
}

TEST(Pace, KeepsEveryStepBelowTwiceTheUsualTimeAndReadsOn) {
  // Reading all weights, or multiplying rows with them, whichever takes longer; later rows see more before them.
  const auto cost = [](std::size_t writing, std::size_t prompt, std::size_t at) {
    return std::max(18.0, 2.5 * static_cast<double>(writing + prompt)) + 0.0002 * static_cast<double>(prompt * at);
  };
  Pace pace;
  const std::size_t steps = read(pace, 1, 4096, cost);
  EXPECT_LT(steps, 600U) << "nine rows a step or more";
  EXPECT_LT(read(pace, 8, 4096, cost), 1000U) << "four";
  EXPECT_LT(read(pace, 1, 4096, cost), 600U) << "what eight bear is not asked of one";
}

TEST(Pace, MeasuresFirstAndNowAndThen) {
  Pace pace;
  EXPECT_EQ(pace.prompt_rows(3), 0U);
  pace.took(3, 0, 1);
  EXPECT_EQ(pace.prompt_rows(3), 1U);
  for (int i = 0; i < 32; ++i) {
    EXPECT_GT(pace.prompt_rows(3), 0U);
    pace.took(3, pace.prompt_rows(3), 1);
  }
  EXPECT_EQ(pace.prompt_rows(3), 0U);
  pace.took(3, 0, 1);
  EXPECT_GT(pace.prompt_rows(3), 8U);
}

TEST(Pace, ReadsARowAStepWhereEvenThatTakesTooLong) {
  Pace pace;
  pace.took(1, 0, 1);
  for (int i = 0; i < 10; ++i) {
    pace.took(1, 1, 5);
    EXPECT_EQ(pace.prompt_rows(1), 1U);
  }
}

}  // namespace
}  // namespace halyard::engine
