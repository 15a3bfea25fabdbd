// Carries one session over four stages. Each stage is one command buffer that waits on the fence of the stage before it,
// so the host submits all four without stopping and waits once, at the end.
#include <iostream>
#include <string>
#include <utility>

#include <halyard/halyard.h>

using namespace halyard;

Result<void> stages() {
  constexpr int count = 4;
  constexpr float ones[] = {1, 1, 1, 1};

  Device device = HALYARD_TRY(Device::open("cpu"));
  Buffer one = HALYARD_TRY(device.alloc(DType::f32, {4}));
  Buffer x = HALYARD_TRY(device.alloc(DType::f32, {4}));  // zero-filled
  Buffer y = HALYARD_TRY(device.alloc(DType::f32, {4}));
  HALYARD_TRY(one.write<float>(ones));
  device.reset_stats();

  EncoderSession session = HALYARD_TRY(device.encoder_session());
  for (int stage = 0; stage < count; ++stage) {
    session.begin_stage("stage " + std::to_string(stage));
    HALYARD_TRY(ops::add(session.encoder(), x, one, y));
    std::swap(x, y);
    if (stage + 1 == count) break;
    HALYARD_TRY(session.fence_stage());           // submits and signals, without waiting
    HALYARD_TRY(session.reset_for_next_stage());  // the next command buffer waits on that signal
  }
  HALYARD_TRY(session.commit_and_wait());

  for (const float v : HALYARD_TRY(x.read<float>())) std::cout << v << ' ';
  const Stats stats = device.stats();
  std::cout << "\ndispatches " << stats.dispatches << ", command buffers " << stats.command_buffers  //
            << ", waits of the host " << stats.syncs << ", waits on a fence " << session.wait_count() << '\n';
  return {};
}

int main() {
  const Result<void> outcome = stages();
  if (!outcome) std::cerr << "session_stages: " << outcome.error().str() << '\n';
  return outcome ? 0 : 1;
}
