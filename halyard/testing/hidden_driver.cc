#include "halyard/testing/hidden_driver.h"

#include "halyard/testing/forwarding_driver.h"
#include "halyard/testing/open_device.h"

namespace halyard::testing {
namespace {

class HiddenDriver final : public ForwardingDriver {
 public:
  explicit HiddenDriver(std::unique_ptr<Driver> cpu)
      : ForwardingDriver(std::move(cpu)), capabilities_(inner().capabilities()) {
    capabilities_.backend = "hidden";
    capabilities_.host_visible = false;
  }
  const Capabilities& capabilities() const override { return capabilities_; }
  Result<Memory> allocate(std::size_t bytes) override {
    Memory m = HALYARD_TRY(inner().allocate(bytes));
    m.host = nullptr;
    return m;
  }
  Result<Memory> import(const void* data, std::size_t bytes) override { return Driver::import(data, bytes); }

 private:
  Capabilities capabilities_;
};

}  // namespace

Result<Device> open_hidden_device(const DeviceOptions& options) {
  return guarded([&]() -> Result<Device> {
    return open_device(std::make_unique<HiddenDriver>(HALYARD_TRY(open_cpu_driver(options))), options);
  });
}

}  // namespace halyard::testing
