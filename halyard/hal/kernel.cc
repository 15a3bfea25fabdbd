#include "halyard/hal/kernel.h"

#include "halyard/hal/record.h"

namespace halyard {

std::string_view KernelRef::name() const { return kernel_ ? kernel_->def->name : std::string_view(); }

}  // namespace halyard
