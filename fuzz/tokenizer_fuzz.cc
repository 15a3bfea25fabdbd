// The first half of the input is a tokenizer.json; the rest is text to encode, and ids to decode whole and as a stream.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // A NUL parts the two halves where there is one, so that a mutation of one leaves the other whole.
  const std::size_t nul = input.find('\0');
  const std::size_t middle = nul == input.npos ? size / 2 : nul;
  const auto tokenizer = halyard::Tokenizer::parse(input.substr(0, middle), "tokenizer.json");
  if (!tokenizer) return 0;
  const std::string_view rest = input.substr(middle);
  const auto encoded = tokenizer->encode(rest, true);
  std::vector<std::int32_t> ids = encoded ? *encoded : std::vector<std::int32_t>();
  for (const char c : rest) ids.push_back(c);
  const auto whole = tokenizer->decode(ids, false);
  halyard::StreamDecoder stream(*tokenizer, false);
  std::string text;
  for (const std::int32_t id : ids) text += stream.add(id);
  text += stream.finish();
  if (whole && *whole != text) std::abort();
  return 0;
}
