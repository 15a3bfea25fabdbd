#include "halyard/base/result.h"

#include <fmt/format.h>

#include "halyard/base/guarded.h"

namespace halyard {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::invalid_argument: return "invalid argument";
    case Errc::invalid_state: return "invalid state";
    case Errc::unsupported: return "unsupported";
    case Errc::not_found: return "not found";
    case Errc::bad_file: return "bad file";
    case Errc::io: return "i/o error";
    case Errc::out_of_memory: return "out of memory";
    case Errc::limit_exceeded: return "limit exceeded";
    case Errc::kernel_failed: return "kernel failed";
    case Errc::dependency_failed: return "dependency failed";
    case Errc::device_lost: return "device lost";
    case Errc::timeout: return "timeout";
    case Errc::cancelled: return "cancelled";
    case Errc::internal: return "internal error";
  }
  return "unknown error";
}

namespace {

// Bytes of the UTF-8 character that begins `s` (RFC 3629), 0 where there is none or it is a control character.
std::size_t character(std::string_view s) {
  const auto at = [s](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0U) == 0x80; };
  const unsigned lead = at(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f;
  if (lead == 0xc2) return tail(1) && at(1) >= 0xa0 ? 2 : 0;  // below: C1 controls
  if (lead >= 0xc3 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool shortest = lead != 0xe0 || at(1) >= 0xa0, surrogate = lead == 0xed && at(1) >= 0xa0;
    return tail(1) && tail(2) && shortest && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool in_range = (lead != 0xf0 || at(1) >= 0x90) && (lead != 0xf4 || at(1) < 0x90);
    return tail(1) && tail(2) && tail(3) && in_range ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string text) {
  std::size_t i = 0;
  for (std::size_t n; i < text.size() && (n = character(std::string_view(text).substr(i))); i += n) {}
  if (i == text.size()) return text;
  std::string out = text.substr(0, i);
  while (i < text.size()) {
    if (const std::size_t n = character(std::string_view(text).substr(i))) {
      out.append(text, i, n);
      i += n;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i++]));
    }
  }
  return out;
}

std::string Error::str() const {
  return if_memory([&] {
    std::string raw;
    for (auto it = contexts.rbegin(); it != contexts.rend(); ++it) raw += *it + ": ";
    raw += message.empty() ? std::string(to_string(code)) : message;
    return printable(std::move(raw));
  });
}

}  // namespace halyard
