#include "halyard/hal/kernel.h"

#include <fmt/format.h>

#include "halyard/hal/driver.h"

namespace halyard {

std::string_view KernelRef::name() const { return kernel_ ? kernel_->def->name : std::string_view(); }

Result<Memory> Driver::import(const void*, std::size_t) {
  return fail(Errc::unsupported, fmt::format("{} cannot use host memory in place", capabilities().backend));
}

}  // namespace halyard
