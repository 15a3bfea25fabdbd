// A kernel of one's own: rotates each row of a matrix in place, by a distance that a plan's replays choose.
// docs/KERNELS.md says what the parts mean and what a kernel may not do.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <string_view>

#include <halyard/halyard.h>

using namespace halyard;

/// What each dispatch tells the kernel.
struct RotateConstants {
  std::uint64_t width, shift;
};

/// Work-items are rows. In place, so each row is copied into scratch first.
void rotate_rows(const CpuTile& t) {
  const auto& c = t.constants_as<RotateConstants>();
  auto* const copy = reinterpret_cast<float*>(t.shared);
  for (std::uint64_t r = t.x0; r < t.x1; ++r) {
    float* const row = t.as<float>(0) + r * c.width;
    std::copy(row, row + c.width, copy);
    for (std::uint64_t i = 0; i < c.width; ++i) row[i] = copy[(i + c.shift) % c.width];
  }
}

/// One binding, read and written; on the CPU a tile does four rows.
const KernelDef rotate_def = {"example_rotate_f32", "x", {.cpu = &cpu_form<rotate_rows, Grid{4}>}};

/// The op: checks what it is given, then records. x: f32 [rows, width].
Result<void> rotate(CommandEncoder& encoder, const Buffer& x, std::uint64_t shift) {
  if (x.dtype() != DType::f32 || x.shape().rank() != 2 || x.shape()[1] == 0)
    return fail(Errc::invalid_argument, "rotate: expected x of f32 [rows, width]");
  const std::uint64_t rows = x.shape()[0], width = x.shape()[1];
  const Buffer buffers[] = {x};
  const ParameterPlace places[] = {{"shift", offsetof(RotateConstants, shift), sizeof(std::uint64_t), width - 1}};
  const KernelRef kernel = HALYARD_TRY(encoder.kernel(rotate_def));
  return encoder.dispatch({.kernel = kernel,
                           .grid = {rows},
                           .buffers = buffers,
                           .constants = RotateConstants{width, shift},
                           .shared_bytes = width * sizeof(float),
                           .parameters = places});
}

Result<void> run() {
  constexpr float numbers[] = {0, 1, 2, 3, 4, 5, 6, 7};
  Device device = HALYARD_TRY(Device::open("cpu"));
  Buffer x = HALYARD_TRY(device.alloc(DType::f32, {2, 4}));
  HALYARD_TRY(x.write<float>(numbers));

  CommandEncoder encoder = HALYARD_TRY(device.command_encoder());
  encoder.start_capture();
  HALYARD_TRY(rotate(encoder, x, 0));
  const ComputeGraph graph = HALYARD_TRY(encoder.take_capture());
  constexpr std::string_view parameters[] = {"shift"};
  const Plan plan = HALYARD_TRY(graph.compile(parameters));

  for (const std::uint64_t shift : {std::uint64_t{1}, std::uint64_t{2}}) {
    const PlanParameter values[] = {{"shift", shift}};
    HALYARD_TRY(encoder.replay(plan, values));
  }
  HALYARD_TRY(encoder.commit_and_wait("rotate"));

  for (const float v : HALYARD_TRY(x.read<float>())) std::cout << v << ' ';
  std::cout << '\n';
  return {};
}

int main() {
  const Result<void> outcome = run();
  if (!outcome) std::cerr << "custom_kernel: " << outcome.error().str() << '\n';
  return outcome ? 0 : 1;
}
