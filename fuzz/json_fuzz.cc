// parse_json over any bytes: a value or an error, never a crash. What it accepts, it accepts again once printed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "halyard/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = halyard::parse_json({reinterpret_cast<const char*>(data), size});
  if (json && !halyard::parse_json(json->dump())) std::abort();
  return 0;
}
