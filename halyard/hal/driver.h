// The small interface behind which the drivers stand. Encoders, sessions, hazards, residency and failure are written
// once, above it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "halyard/base/result.h"
#include "halyard/hal/device.h"
#include "halyard/hal/profiler.h"
#include "halyard/hal/recording.h"

namespace halyard {

struct Submission;
struct PlanState;

/// The most blocks that one dispatch may have: their numbers, and sums of two dispatches', fit 32 bits.
inline constexpr std::uint64_t max_blocks = std::uint64_t{1} << 30;

/// Blocks that make up `items` along one axis.
inline std::uint64_t blocks_along(std::uint64_t items, std::uint64_t block) {
  return items <= block ? items != 0 : items / block + (items % block != 0);
}
/// Whether a grid has more than max_blocks of them. Without divisions where there are few work-items already.
inline bool too_many_blocks(const Grid& grid, const Grid& block) {
  std::uint64_t n = 0;
  const auto fits = [&n](std::uint64_t x, std::uint64_t y, std::uint64_t z) {
    return !__builtin_mul_overflow(x, y, &n) && !__builtin_mul_overflow(n, z, &n) && n <= max_blocks;
  };
  if (fits(grid.x, grid.y, grid.z)) [[likely]]
    return false;
  if (!grid.x || !grid.y || !grid.z) return false;
  return !fits(blocks_along(grid.x, block.x), blocks_along(grid.y, block.y), blocks_along(grid.z, block.z));
}

/// Memory of a device.
struct Memory {
  std::uint64_t address = 0;  ///< the driver's own name for it: nobody else looks where it leads
  void* host = nullptr;       ///< where the host sees it; nullptr where it does not
  std::size_t bytes = 0;
};

struct PinnedMemory {
  std::size_t bytes = 0, limit = 0;
};

/// What a driver makes of a plan, once.
struct PreparedPlan {
  virtual ~PreparedPlan() = default;
};

/// What a driver makes of a submission before it is handed over.
struct PreparedSubmission {
  virtual ~PreparedSubmission() = default;
};

/// One queue of one device. Submissions run in the order submitted, each after all before it; calls are thread-safe.
class Driver {
 public:
  virtual ~Driver() = default;
  virtual const Capabilities& capabilities() const = 0;
  /// Whose forms of kernels it runs.
  virtual Backend backend() const = 0;

  /// Zero-filled memory, aligned to at least 64 bytes.
  virtual Result<Memory> allocate(std::size_t bytes) = 0;
  virtual void free(const Memory&) = 0;
  /// Memory of the host's for kernels to read where it lies, from now until end_import(). Errc::unsupported where they cannot.
  virtual Result<Memory> import(const void* data, std::size_t bytes);
  virtual void end_import(const Memory&) {}
  /// Copies to memory, and from it. No work that has not completed uses the bytes.
  virtual Result<void> write(const Memory& to, std::size_t offset, std::span<const std::byte> from) = 0;
  virtual Result<void> read(const Memory& from, std::size_t offset, std::span<std::byte> to) = 0;

  /// Keeps memory, imported memory too, where kernels reach it at full speed: not swapped out, not dropped to be read from
  /// its file again. Must be quick, read nothing in, and leave enough for others; an error says why it did nothing. Called
  /// before a submission that may use the memory is submitted.
  virtual Result<void> pin(const Memory&) { return {}; }
  /// Ends that of memory that was pinned. No submission that has not completed uses it.
  virtual void unpin(const Memory&) {}
  /// Bytes pinned, and the most that pin() would.
  virtual PinnedMemory pinned_memory() const { return {}; }

  /// The kernel, which has a form for this backend, ready to run; `def` and `device` are filled in later. May take its time:
  /// nobody who records waits meanwhile, unless for a kernel that is not compiled yet. One call at a time.
  virtual Result<std::unique_ptr<CompiledKernel>> compile(const KernelDef&, const Constants& specialisation) = 0;

  /// The driver's own form of a plan: recordings then call it. Null where it has none: recordings get the plan's records.
  virtual Result<std::unique_ptr<const PreparedPlan>> prepare(const PlanState&) { return nullptr; }

  /// All of submitting that may fail, memory above all: what submit() will need, kept in the submission's `prepared`. On
  /// the thread that commits, and submit() follows; after an error it is asked anew, when more may have been recorded.
  virtual Result<void> make_ready(Submission&) { return {}; }
  /// Takes the submission over: runs it, and calls complete() on it once, in order. `will_wait`: the calling thread will
  /// wait for it at once. Neither this nor completing asks for memory that it cannot do without.
  virtual void submit(std::shared_ptr<Submission>, bool will_wait) noexcept = 0;
  /// Returns when the submission numbered `sequence` and all before it have completed.
  virtual void wait(std::uint64_t sequence) = 0;
  /// As wait(), but gives up once a submission has been running for longer than `timeout`: the driver then calls lose()
  /// on its device, fails those behind it, and returns false, then and ever after. Used where the device has a timeout.
  virtual bool wait_for(std::uint64_t sequence, [[maybe_unused]] std::chrono::milliseconds timeout) {
    wait(sequence);
    return true;
  }
};

/// Whether threads that lose their core are taken over. They read on while others write: nothing comes of what they read, but
/// to TSan it is a race, unless the kernel reads atomically, as those of the tests that ask for it do.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool takes_over = false;
#else
inline constexpr bool takes_over = true;
#endif
/// Opens the CPU driver.
Result<std::unique_ptr<Driver>> open_cpu_driver(const DeviceOptions&, bool take_over = takes_over);
/// What the CPU driver would open.
DeviceInfo cpu_device_info();

}  // namespace halyard
