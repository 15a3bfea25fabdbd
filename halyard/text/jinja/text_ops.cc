#include "halyard/text/jinja/text_ops.h"

#include <algorithm>

#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {

std::vector<std::string_view> split_text(std::string_view s, std::string_view separator, std::int64_t limit) {
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const auto at = s.find(separator);
    if (at == s.npos) break;
    parts.push_back(s.substr(0, at));
    s.remove_prefix(at + separator.size());
  }
  parts.push_back(s);
  return parts;
}

std::vector<std::string_view> rsplit_text(std::string_view s, std::string_view separator, std::int64_t limit) {
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const auto at = s.rfind(separator);
    if (at == s.npos) break;
    parts.push_back(s.substr(at + separator.size()));
    s = s.substr(0, at);
  }
  parts.push_back(s);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::string replace(Budget& budget, std::string_view s, std::string_view from, std::string_view to, std::int64_t limit) {
  Builder out(budget);
  budget.step(s.size() / 64);
  std::int64_t done = 0;
  std::size_t at = 0;
  for (; limit < 0 || done < limit; ++done) {
    if (from.empty() && at > s.size()) break;
    const auto found = from.empty() ? at : s.find(from, at);
    if (found == s.npos) break;
    budget.step();
    out.add(s.substr(at, found - at)).add(to);
    at = found + from.size();
    if (!from.empty()) continue;
    // between all characters
    if (at == s.size()) return out.take();
    const std::size_t n = char_bytes(s, at);
    out.add(s.substr(at, n));
    at += n;
  }
  if (at < s.size()) out.add(s.substr(at));
  return out.take();
}

std::string justify(Budget& budget, std::string_view s, std::int64_t width, std::string_view fill, int side) {
  const auto n = static_cast<std::int64_t>(length(s));
  const std::int64_t missing = width > n ? width - n : 0;
  // as str.center does: the odd one goes to the left where the width is odd too
  const std::int64_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
  Builder out(budget);
  const auto pad = [&](std::int64_t times) {
    if (fill.size() == 1) return void(out.add(static_cast<std::size_t>(times), fill[0]));
    for (std::int64_t i = 0; i < times; ++i) out.add(fill);
  };
  pad(left);
  out.add(s);
  pad(missing - left);
  return out.take();
}

Value dict_view(Interpreter& in, const Mapping& m, Flavor flavor) {
  std::vector<Value> items;
  items.reserve(m.entries.size());
  for (const auto& [key, value] : m.entries)
    items.push_back(flavor == Flavor::keys     ? key
                    : flavor == Flavor::values ? value
                                               : in.list({key, value}, Flavor::tuple));
  return in.list(std::move(items), flavor);
}

}  // namespace halyard::jinja
