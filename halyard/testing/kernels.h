// Small kernels and helpers for tests of the device layer.
#pragma once

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "halyard/hal/cpu/kernel.h"
#include "halyard/hal/device.h"

namespace halyard::testing {

/// The value of a Result, or a failed test and a default.
template <class T> T value(Result<T> r) {
  if (!r) {
    ADD_FAILURE() << r.error().str();
    std::abort();
  }
  return std::move(*r);
}
inline void ok(const Result<void>& r) { EXPECT_TRUE(r) << r.error().str(); }

/// out[i] = in[i] + constant, i32, over grid.x elements, 64 a tile.
inline void add_constant(const CpuTile& t) {
  for (std::uint64_t i = t.x0; i < t.x1; ++i)
    t.as<std::int32_t>(1)[i] = t.as<std::int32_t>(0)[i] + t.constants_as<std::int32_t>();
}
inline const KernelDef add_constant_kernel = {"test_add_constant", "rw", {&cpu_form<add_constant, Grid{64, 1, 1}>}};

/// x[i] = x[i] · 3 + constant, i32, in place: the order of two of them shows.
inline void scale_in_place(const CpuTile& t) {
  for (std::uint64_t i = t.x0; i < t.x1; ++i) {
    auto& x = t.as<std::uint32_t>(0)[i];
    x = x * 3 + t.constants_as<std::uint32_t>();
  }
}
inline const KernelDef scale_in_place_kernel = {"test_scale", "x", {&cpu_form<scale_in_place, Grid{64, 1, 1}>}};

/// Fails in the tile that holds the element numbered by the constant.
inline void failing(const CpuTile& t) {
  const auto at = t.constants_as<std::uint32_t>();
  if (at >= t.x0 && at < t.x1) t.fail("element %lld is cursed", at);
}
inline const KernelDef failing_kernel = {"test_failing", "r", {&cpu_form<failing, Grid{64, 1, 1}>}};

/// Sleeps as many milliseconds as the constant says, in each tile.
inline void sleeping(const CpuTile& t) {
  std::this_thread::sleep_for(std::chrono::milliseconds(t.constants_as<std::int32_t>()));
}
inline const KernelDef sleeping_kernel = {"test_sleeping", "x", {&cpu_form<sleeping>}};

inline Result<void> run(CommandEncoder& e, const KernelDef& k, std::initializer_list<Buffer> buffers, std::uint32_t n,
                        Constants c = {}) {
  const KernelRef ref = HALYARD_TRY(e.kernel(k));
  return e.dispatch(
      {.kernel = ref, .grid = {n, 1, 1}, .buffers = std::span(buffers.begin(), buffers.size()), .constants = c});
}

}  // namespace halyard::testing
