// A device whose memory no host pointer reaches, as that of most GPUs: what the host knows of it, it has read by call.
#pragma once

#include "halyard/hal/device.h"

namespace halyard::testing {

/// The CPU's kernels on memory that is not visible to the host: Buffer::map and Device::import_host are refused, reads and
/// writes are the driver's. What holds for it will hold for a GPU.
Result<Device> open_hidden_device(const DeviceOptions& = {});

}  // namespace halyard::testing
