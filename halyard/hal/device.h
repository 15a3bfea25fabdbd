// Devices: one execution backend instance behind a cheap shared handle.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/file.h"
#include "halyard/hal/buffer.h"
#include "halyard/hal/cpu/options.h"
#include "halyard/hal/encoder.h"
#include "halyard/hal/kernel.h"
#include "halyard/hal/profile.h"
#include "halyard/hal/session.h"

namespace halyard {

struct DeviceOptions {
  CpuOptions cpu = {};  ///< for "cpu" alone
  /// The most bytes that alloc() gives out at a time; 0: nine tenths of what the system has to give at open(). Imported
  /// memory does not count.
  std::size_t memory_budget = 0;
  /// How long a command buffer may run before a call that waits for it, or for one after it, gives the device up; 0: for
  /// ever. The device is then lost: see Device. With a timeout, waiting threads do not lend themselves to the work.
  std::chrono::milliseconds timeout{0};
  /// CPU: a slow mode for finding faults in kernels. A dispatch that writes bytes it does not declare to write (of a
  /// binding that it only reads, outside its windows, or within 4 KiB around a buffer) makes its command buffer fail, with
  /// the kernel's name. What it declares to write and not to read is filled with 0xff first, and so is all memory whose
  /// content is undefined. Work runs on one thread. HALYARD_VALIDATE=1 in the environment turns it on, 0 off.
  bool validate = false;
  bool profile = false;  ///< collect where the time goes, for Device::profile(): some 100 ns a dispatch and thread
};

/// What can be opened.
struct DeviceInfo {
  std::string spec;  ///< for Device::open
  std::string name;  ///< the processor's own
  std::size_t memory_bytes = 0;
};

struct Capabilities {
  std::string backend;  ///< "cpu", "cuda", "vulkan"
  std::string name;     ///< the processor's own
  std::string isa;      ///< CPU: the instruction set in use
  int threads = 1;      ///< CPU: threads that work on a command buffer
  std::size_t memory_bytes = 0;
  std::size_t max_shared_bytes = 0;  ///< the most a dispatch may ask for
  bool host_visible = false;         ///< Buffer::map works; Buffer::read and write do everywhere
};

/// Counters of one device since it was opened or reset_stats() was called. They count calls, not completions.
struct Stats {
  std::uint64_t command_buffers = 0;        ///< opened
  std::uint64_t syncs = 0;                  ///< commit_and_wait calls that waited
  std::uint64_t dispatches = 0;             ///< recorded for execution
  std::uint64_t auto_barriers = 0;          ///< placed by hazard tracking
  std::uint64_t concurrent_dispatches = 0;  ///< tracked and found free of conflict: no barrier was placed
  std::uint64_t explicit_barriers = 0;      ///< memory_barrier() calls
  std::uint64_t kernels_compiled = 0;
  std::uint64_t bytes_allocated = 0;  ///< now
  std::uint64_t peak_bytes = 0;
  std::uint64_t submit_ns = 0;  ///< time callers spent in commits, their waits left out
};

/// The residency set: what of the device's memory the system keeps in place. On the CPU pinned memory is neither swapped
/// out nor, where it is a file's, dropped to be read again.
struct Residency {
  std::size_t count = 0;         ///< members of the set
  std::size_t bytes = 0;         ///< of the members
  std::size_t pinned_bytes = 0;  ///< of them, pinned by a commit; what nobody has touched yet takes no memory
  std::size_t pin_limit = 0;     ///< the most that would be pinned
  std::string refusal;           ///< why the driver did not pin some of it, the latest reason; empty: it has
};

/// A device is lost once a command buffer has run for longer than its timeout. Waiting for that command buffer returns
/// Errc::timeout; waiting for a later one, and every later submission, returns Errc::device_lost at once. The threads
/// still at work are left behind, and with them the memory that the command buffer uses, until its kernels return.
/// To the child of a fork the devices of its parent are lost; handles may be dropped there.
class Device {
 public:
  /// "cpu"; "cuda:0" and "vulkan:0" where such a driver is built in.
  static Result<Device> open(std::string_view spec, DeviceOptions = {});
  /// Empty where there is no memory for it.
  static std::vector<DeviceInfo> list();

  /// Zero-filled memory of the shape's size, registered in the residency set. Errc::out_of_memory where the memory
  /// budget does not allow it.
  Result<Buffer> alloc(DType, Shape);
  /// A value that exists only in captures: it can be bound there and nowhere else, and has no memory. plan_memory gives it
  /// some in the graph that it makes; for every pass it is scratch.
  Result<Buffer> placeholder(DType, Shape);
  /// Memory that belongs to someone else, used in place: `owner` is held as long as the buffer lives. Read-only: binding
  /// it for writing is an error. Errc::unsupported where the device cannot.
  Result<Buffer> import_host(std::shared_ptr<const void> owner, const void* data, DType, Shape);
  /// The same where the device can; else memory of its own with a copy of the bytes.
  Result<Buffer> import_or_copy(std::shared_ptr<const void> owner, const void* data, DType, Shape);

  Result<CommandEncoder> command_encoder(EncoderOptions = {});
  Result<EncoderSession> encoder_session(EncoderOptions = {});

  /// The kernel compiled for this device, compiling it on first use. `specialisation` picks a variant where the kernel
  /// has any; each is compiled once.
  Result<KernelRef> kernel(const KernelDef&, const Constants& specialisation = {});
  /// A kernel by name: one of those used or registered before.
  Result<KernelRef> kernel(std::string_view name, const Constants& specialisation = {});
  /// Makes kernels known by name. An error where another kernel has the name.
  Result<void> register_kernels(std::span<const KernelDef* const>);

  Stats stats() const;
  void reset_stats();
  /// Where the time of completed command buffers went; empty where the device was opened without DeviceOptions::profile, or
  /// there is no memory for it.
  Profile profile() const;
  void reset_profile();
  /// Writes what ran when, and on which thread, as JSON that Perfetto and chrome://tracing read; the first 2^20 spans.
  Result<void> write_trace(const std::string& path) const;
  Result<void> write_trace(FileWriter& file) const;  ///< the same to a file already begun: writes and commits
  const Capabilities& capabilities() const;
  /// Bytes that alloc() may give out at a time.
  std::size_t memory_budget() const;
  /// Whether a command buffer ran for longer than the timeout.
  bool is_lost() const;

  bool residency_enabled() const;
  /// Allocations in the residency set. One leaves it at once when its last buffer is dropped, also while work uses it; the
  /// driver unpins it after that work.
  std::size_t residency_count() const;
  Residency residency() const;

  /// Waits for all committed work. Returns the first failure that no other call has returned.
  Result<void> wait_idle();

  explicit Device(std::shared_ptr<DeviceState> s) : state_(std::move(s)) {}
  const std::shared_ptr<DeviceState>& state() const { return state_; }
  friend bool operator==(const Device&, const Device&) = default;

 private:
  // The public calls' insides: they throw where memory runs out.
  static Result<Device> open_device(std::string_view spec, DeviceOptions);
  Result<Buffer> allocate(DType, const Shape&);
  Result<Buffer> import_memory(std::shared_ptr<const void> owner, const void* data, DType, const Shape&);
  Result<std::string> trace() const;
  Result<void> check_state() const;  // an error where it was moved from
  std::shared_ptr<DeviceState> state_;
};

}  // namespace halyard
