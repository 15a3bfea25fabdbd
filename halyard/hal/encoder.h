// Encoders record dispatches into a command buffer; a command buffer is the unit of submission.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "halyard/hal/buffer.h"
#include "halyard/hal/graph.h"
#include "halyard/hal/hazard.h"
#include "halyard/hal/kernel.h"

namespace halyard {

class Device;
struct DeviceState;
struct Submission;

enum class Hazards : std::uint8_t {
  automatic,  ///< barriers are placed where two dispatches conflict
  manual,     ///< only memory_barrier() separates dispatches
};

struct EncoderOptions {
  Hazards hazards = Hazards::automatic;
};

/// One kernel launch whose grid the caller gives.
struct Dispatch {
  KernelRef kernel;
  Grid grid;                        ///< work-items along each axis
  std::span<const Buffer> buffers;  ///< one for each binding the kernel declares
  Constants constants = {};
  std::size_t shared_bytes = 0;                     ///< scratch for each thread (CPU) or block (GPU)
  std::span<const ParameterPlace> parameters = {};  ///< constants that a plan may change
};

enum class CommandBufferStatus : std::uint8_t { open, committed, running, completed, failed, discarded };
std::string_view to_string(CommandBufferStatus);

/// A handle on one command buffer. It owns references to all the work uses until the work has completed.
class CommandBuffer {
 public:
  CommandBuffer() = default;
  explicit CommandBuffer(std::shared_ptr<Submission> s) : submission_(std::move(s)) {}

  /// Waits, lending this thread to the work. A failure is returned with the label and the kernel's name.
  Result<void> wait_until_completed();
  CommandBufferStatus status() const;
  std::string_view label() const;
  /// From the first dispatch's start to the last one's end; zero until completed, and where the device was lost over it.
  std::chrono::nanoseconds gpu_time() const;

 private:
  friend class CommandEncoder;
  Result<void> wait();
  std::shared_ptr<Submission> submission_;
};

/// Records dispatches. Not thread-safe; different encoders of one device may be used from different threads. Dropping an
/// encoder before commit discards what it recorded.
class CommandEncoder {
 public:
  CommandEncoder(CommandEncoder&&) noexcept;
  CommandEncoder& operator=(CommandEncoder&&) noexcept;
  ~CommandEncoder();

  /// Records one launch. Errors (a null buffer, a wrong number of bindings, another device's buffer or kernel, a
  /// committed encoder) record nothing.
  Result<void> dispatch(const Dispatch&);
  /// The same of a kernel whose form for this device decides the grid: what ops call.
  Result<void> dispatch(const KernelDef&, std::span<const Buffer> buffers, const Constants& arguments = {});
  /// All dispatches recorded before finish before any recorded after starts.
  void memory_barrier();

  /// From here on dispatches go into a graph instead of the command buffer. Called again before take_capture(), it makes
  /// that call fail.
  void start_capture();
  /// Ends the capture. Errc::invalid_state where none was started, or where one was started twice.
  Result<ComputeGraph> take_capture();
  bool is_capturing() const;

  /// Appends a plan's dispatches with these values, one for each of the plan's parameters: as if they were recorded here,
  /// behind a barrier and with another after them. Errors (a value missing or greater than the buffers allow, another
  /// device's plan, an encoder that captures or has committed) record nothing.
  Result<void> replay(const Plan&, std::span<const PlanParameter> values = {});

  /// Submits without waiting. The encoder can record nothing more.
  Result<CommandBuffer> commit(std::string_view label = {});
  /// Submits, waits, and returns the work's failure if it failed.
  Result<void> commit_and_wait(std::string_view label = {});

  /// The command buffer being recorded, or the one committed.
  CommandBuffer command_buffer() const;
  Device device() const;
  /// A kernel of this encoder's device, compiled on first use.
  Result<KernelRef> kernel(const KernelDef&, const Constants& specialisation = {});

 private:
  friend class Device;
  friend class EncoderSession;
  struct State;
  explicit CommandEncoder(std::unique_ptr<State>);
  static Result<void> moved_from();
  Result<void> record_replay(const Plan&, std::span<const PlanParameter>);
  Result<void> check_state() const { return state_ ? Result<void>() : moved_from(); }
  std::unique_ptr<State> state_;
};

}  // namespace halyard
