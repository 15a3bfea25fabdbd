// operator new fails where it is asked to, and what it throws becomes an error.
#include "halyard/testing/fail_new.h"

#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "halyard/base/guarded.h"

namespace halyard {
namespace {

using namespace testing;

// An allocation that the compiler cannot leave out.
void allocate() { ::operator delete(::operator new(16)); }

TEST(FailNew, FailsTheNthAllocationOfThisThreadAlone) {
  bool first = true, second = false, third = true;
  std::uint64_t count = 0;
  {
    const FailNew fail(2);
    const auto succeeds = [] {
      try {
        allocate();
        return true;
      } catch (const std::bad_alloc&) { return false; }
    };
    first = succeeds(), second = succeeds(), third = succeeds();
    count = fail.count();
  }
  EXPECT_TRUE(first);
  EXPECT_FALSE(second);
  EXPECT_TRUE(third);
  EXPECT_EQ(count, 3U);
}

TEST(FailNew, LeavesThisThreadAloneWhereOthersAreMeant) {
  const FailNew fail(1, Allocating::other_threads);
  EXPECT_NO_THROW(allocate());
  bool threw = false;
  std::thread other;
  {
    // The thread's own start allocates here, and counts as this thread's.
    other = std::thread([&] {
      try {
        allocate();
      } catch (const std::bad_alloc&) { threw = true; }
    });
  }
  other.join();
  EXPECT_TRUE(threw);
  EXPECT_TRUE(fail.failed());
}

TEST(Guarded, TurnsWhatRunsOutIntoAnError) {
  const auto none = guarded([]() -> Result<int> { throw std::bad_alloc(); });
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::out_of_memory);
  EXPECT_EQ(none.error().str(), "out of memory");
  const auto long_one = guarded([]() -> Result<int> {
    std::vector<int> v;
    v.reserve(v.max_size() + 1);
    return 0;
  });
  ASSERT_FALSE(long_one);
  EXPECT_EQ(long_one.error().code, Errc::out_of_memory);
  EXPECT_EQ(*guarded([]() -> Result<int> { return 3; }), 3);
}

TEST(Guarded, NeedsNoMemoryForItsError) {
  bool failed = false;
  std::uint64_t count = 0;
  {
    const FailNew fail(1);
    failed = !guarded([]() -> Result<int> {
      allocate();
      return 0;
    });
    count = fail.count();
  }
  EXPECT_TRUE(failed);
  EXPECT_EQ(count, 1U);
}

}  // namespace
}  // namespace halyard
