// How much of prompts may be read beside texts that are being written.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace halyard::engine {

/// Chooses how many rows of prompts a step takes in beside `writing` rows that write, so that it takes less than twice as
/// long as a step of these alone: then no text is ever written at less than half its usual speed. What steps cost is measured
/// as they run, since it depends on machine, model and length of the texts. It has no clock of its own.
class Pace {
 public:
  /// 0: the next step is to be one without prompts, to be measured.
  std::size_t prompt_rows(std::size_t writing) const {
    if (writing >= known_.size() || known_[writing].usual == 0 || since_usual_ >= kMeasureAfter) return 0;
    return static_cast<std::size_t>(known_[writing].rows);
  }

  /// A step of so many rows has taken so long.
  void took(std::size_t writing, std::size_t prompt, double seconds) {
    if (writing == 0) return;
    if (writing >= known_.size()) known_.resize(writing + 1);
    Known& k = known_[writing];
    if (prompt == 0) {
      // A step of as many rows in all as fewer rows that write bear takes no longer, and the usual one no less.
      if (k.usual == 0)
        for (std::size_t fewer = 1; fewer < writing; ++fewer)
          k.rows = std::max(k.rows, known_[fewer].rows - static_cast<double>(writing - fewer));
      k.usual = k.usual == 0 ? seconds : k.usual + (seconds - k.usual) / 4;
      since_usual_ = 0;
      return;
    }
    ++since_usual_;
    if (k.usual == 0) return;
    const double ratio = seconds / k.usual, rows = static_cast<double>(prompt);
    if (ratio > kMost) k.rows = std::max(1.0, std::min(k.rows - 1, rows * kAim / ratio));
    else if (ratio < kAim && rows + 1 > k.rows) k.rows += std::max(1.0, k.rows / 8);
  }

 private:
  static constexpr double kMost = 1.75, kAim = 1.55;  // below 2, with room for what a step costs more than the last
  static constexpr std::size_t kMeasureAfter = 32;    // steps: texts grow, and so does what writing them costs
  struct Known {
    double usual = 0;  // seconds of a step without prompts; 0: not known
    double rows = 1;   // of prompts
  };
  std::vector<Known> known_;  // for each number of rows that write
  std::size_t since_usual_ = 0;
};

}  // namespace halyard::engine
