#include "halyard/base/result.h"

#include "halyard/base/quote.h"

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

std::string Error::str() const {
  return if_memory([&] {
    std::string raw;
    for (auto it = contexts.rbegin(); it != contexts.rend(); ++it) raw += *it + ": ";
    raw += message.empty() ? std::string(to_string(code)) : message;
    return printable(std::move(raw));
  });
}

}  // namespace halyard
