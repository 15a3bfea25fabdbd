// Adds two vectors: open a device, allocate, record, run, read.
#include <cstdio>

#include <halyard/halyard.h>

using namespace halyard;

Result<void> hello() {
  constexpr float ones[] = {1, 1, 1, 1}, numbers[] = {1, 2, 3, 4};

  Device device = HALYARD_TRY(Device::open("cpu"));
  Buffer a = HALYARD_TRY(device.alloc(DType::f32, {4}));
  Buffer b = HALYARD_TRY(device.alloc(DType::f32, {4}));
  Buffer sum = HALYARD_TRY(device.alloc(DType::f32, {4}));
  HALYARD_TRY(a.write<float>(ones));
  HALYARD_TRY(b.write<float>(numbers));

  CommandEncoder encoder = HALYARD_TRY(device.command_encoder());
  HALYARD_TRY(ops::add(encoder, a, b, sum));  // recorded, not yet run
  HALYARD_TRY(encoder.commit_and_wait("hello"));

  for (const float x : HALYARD_TRY(sum.read<float>())) std::printf("%g ", x);
  std::printf("\n");
  return {};
}

int main() {
  const Result<void> outcome = hello();
  if (!outcome) std::fprintf(stderr, "hello_encoder: %s\n", outcome.error().str().c_str());
  return outcome ? 0 : 1;
}
