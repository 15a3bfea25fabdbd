// What bench prints: llama-bench's table and JSON, with how close to the machine's limits each test came.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/engine/bench.h"
#include "halyard/hal/cpu/limits.h"
#include "halyard/hal/profile.h"
#include "halyard/io/model_dir.h"

namespace halyard::cli {

/// "affine 4-bit", "bf16", …: how most of a directory's weights are stored.
std::string weight_format(const ModelDir& dir);

/// What a device saw of a test's timed repetitions.
struct BenchSight {
  Stats stats;
  Profile profile;  ///< empty: not asked for
};

/// What a later profile of the same device has more.
Profile since(const Profile& before, Profile now);

class BenchReport {
 public:
  BenchReport(models::Model model, std::string name, std::string format, std::size_t batch, const CpuLimits& limits)
      : model_(std::move(model)), name_(std::move(name)), format_(std::move(format)), batch_(batch), limits_(limits) {}

  void add(engine::BenchResult result, BenchSight sight) {
    results_.push_back(std::move(result));
    sights_.push_back(std::move(sight));
  }
  /// Takes the greater of each limit.
  void raise_limits(const CpuLimits& later) {
    limits_.read_gb_s = std::max(limits_.read_gb_s, later.read_gb_s);
    limits_.int8_gop_s = std::max(limits_.int8_gop_s, later.int8_gop_s);
    limits_.bf16_gflop_s = std::max(limits_.bf16_gflop_s, later.bf16_gflop_s);
    limits_.f32_gflop_s = std::max(limits_.f32_gflop_s, later.f32_gflop_s);
  }
  std::string markdown() const;
  std::string json() const;
  std::string svg() const;

 private:
  /// The limit that a test is held against, and how much of it the test reached.
  struct Limit {
    const char* name;  // field of CpuLimits
    double limit;      // 10^9 a second; 0: not measured
    double reached;    // 10^9 a second
    double share() const { return limit > 0 ? reached / limit : 0; }
  };
  Limit limit_of(const engine::BenchResult&) const;
  Json object(const engine::BenchResult&, const BenchSight&) const;
  std::string test_name(const engine::BenchTest&) const;

  models::Model model_;
  std::string name_, format_;
  std::size_t batch_;
  CpuLimits limits_;
  std::vector<engine::BenchResult> results_;
  std::vector<BenchSight> sights_;  // one a result
};

}  // namespace halyard::cli
