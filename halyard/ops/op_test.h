// What the tests of ops share: devices of every instruction set, buffers made of values, and checks of results.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/environment.h"
#include "halyard/hal/cpu/isa.h"
#include "halyard/hal/device.h"

namespace halyard::ops::testing {

template <class T> T must(Result<T> r) {
  if (!r) throw std::runtime_error(r.error().str());
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (int i = 0; i <= static_cast<int>(best_isa()); ++i) all.push_back(static_cast<Isa>(i));
  return all;
}

inline Device open(Isa isa, int threads) {
  return must(Device::open("cpu", {.cpu = {.threads = threads, .isa = isa}}));
}
inline Device any_device() { return must(Device::open("cpu", {.cpu = {.threads = 2}})); }

template <class T> Buffer put(Device device, Shape shape, const std::vector<T>& values) {
  Buffer b = must(device.alloc(dtype_of<T>::value, shape));
  must(b.write(std::span<const T>(values)));
  return b;
}
template <class T> std::vector<T> get(const Buffer& b) { return must(b.read<T>()); }

/// Runs what `record` records.
inline void run(Device device, const std::function<Result<void>(CommandEncoder&)>& record) {
  CommandEncoder e = must(device.command_encoder());
  must(record(e));
  must(e.commit_and_wait("test"));
}

/// What the command buffer of what `record` records says where it fails.
inline std::string failure(Device device, const std::function<Result<void>(CommandEncoder&)>& record) {
  CommandEncoder e = must(device.command_encoder());
  must(record(e));
  const Result<void> done = e.commit_and_wait("test");
  return done ? "succeeded" : done.error().str();
}

/// Whether the bytes are the same: also of what is no number.
inline void expect_same(const std::vector<float>& actual, const std::vector<float>& expected, std::string_view what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  if (actual.empty()) return;
  EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)), 0) << what;
}

/// `body`, which returns the outputs it made, on every instruction set with 1, 2 and 5 threads: the outputs of one
/// instruction set must be the same bytes.
template <class Body> void on_every_device(Body body) {
  for (const Isa isa : isas()) {
    std::vector<float> first;
    for (const int threads : {1, 2, 5}) {
      SCOPED_TRACE(fmt::format("{}, {} threads", to_string(isa), threads));
      const std::vector<float> result = body(open(isa, threads));
      if (threads == 1) first = result;
      expect_same(result, first, "as with one thread");
      if (::testing::Test::HasFailure()) return;
    }
  }
}

/// A generator whose seed is printed where the test fails. HALYARD_SEED sets it.
struct Random {
  unsigned seed = environment("HALYARD_SEED") ? static_cast<unsigned>(std::atoi(environment("HALYARD_SEED")->c_str()))
                                              : std::random_device()();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("HALYARD_SEED={}", seed)};
  std::mt19937 engine{seed};

  std::vector<float> normal(std::size_t n, float scale = 1) {
    std::normal_distribution<float> d(0, scale);
    std::vector<float> v(n);
    for (float& x : v) x = d(engine);
    return v;
  }
  std::size_t below(std::size_t n) { return engine() % n; }
};

/// |actual - expected| ≤ tolerance(i), NaN and infinities equal.
template <class Tolerance>
void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, Tolerance tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto rounded = static_cast<float>(expected[i]);
    if (std::isnan(rounded) ? std::isnan(actual[i]) : actual[i] == rounded) continue;
    ASSERT_LE(std::abs(actual[i] - expected[i]), tolerance(i))
        << "element " << i << ": " << actual[i] << ", expected " << expected[i];
  }
}
inline void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, double relative,
                        double absolute = 1e-37) {
  expect_near(actual, expected, [&](std::size_t i) { return relative * std::abs(expected[i]) + absolute; });
}

/// The call is refused, its message has all the parts, and nothing was recorded.
inline void expect_refused(const std::function<Result<void>(CommandEncoder&)>& record, Device device,
                           std::initializer_list<std::string_view> parts) {
  CommandEncoder e = must(device.command_encoder());
  const auto before = device.stats().dispatches;
  const Result<void> r = record(e);
  ASSERT_FALSE(r.has_value()) << "accepted";
  EXPECT_EQ(r.error().code, Errc::invalid_argument);
  for (const std::string_view part : parts)
    EXPECT_NE(r.error().message.find(part), std::string::npos) << r.error().message << "\nlacks: " << part;
  EXPECT_EQ(device.stats().dispatches, before);
}

}  // namespace halyard::ops::testing
