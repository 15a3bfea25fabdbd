// The input up to its first NUL is a chat template, what follows is the JSON context. Nothing may crash or run long.
#include <cstddef>
#include <cstdint>
#include <string>

#include "halyard/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const auto nul = input.find('\0');
  const auto parsed = halyard::ChatTemplate::parse(input.substr(0, nul), "fuzz");
  if (!parsed) return 0;
  auto context = halyard::parse_json(nul == input.npos ? "{}" : input.substr(nul + 1), {.exact_integers = true});
  (void)parsed->render(context ? *context : halyard::Json::object());
  return 0;
}
