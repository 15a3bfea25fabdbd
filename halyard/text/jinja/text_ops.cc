#include "halyard/text/jinja/text_ops.h"

#include <algorithm>

#include "halyard/text/jinja/search.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {

Grown<std::string_view> split_text(Budget& budget, std::string_view s, std::string_view separator, std::int64_t limit) {
  Grown<std::string_view> parts(budget);
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const auto at = find_first(s, separator);
    if (at == s.npos) break;
    parts.add(s.substr(0, at));
    s.remove_prefix(at + separator.size());
  }
  parts.add(s);
  return parts;
}

Grown<std::string_view> rsplit_text(Budget& budget, std::string_view s, std::string_view separator,
                                    std::int64_t limit) {
  Grown<std::string_view> parts(budget);
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const auto at = find_last(s, separator);
    if (at == s.npos) break;
    parts.add(s.substr(at + separator.size()));
    s = s.substr(0, at);
  }
  parts.add(s);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::size_t count_text(Budget& budget, std::string_view s, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = find_first(s, part, at)) != s.npos; at += part.size(), ++n) budget.step();
  return n;
}

std::string replace(Budget& budget, std::string_view s, std::string_view from, std::string_view to,
                    std::int64_t limit) {
  Builder out(budget);
  std::int64_t done = 0;
  std::size_t at = 0;
  for (; limit < 0 || done < limit; ++done) {
    if (from.empty() && at > s.size()) break;
    const auto found = from.empty() ? at : find_first(s, from, at);
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
    if (times > static_cast<std::int64_t>(max_text)) raise("pads a text to more than 64 MiB", Errc::limit_exceeded);
    out.add(static_cast<std::size_t>(times), fill);
  };
  pad(left);
  out.add(s);
  pad(missing - left);
  return out.take();
}

Value dict_view(Interpreter& in, const Mapping& m, Flavor flavor) {
  Grown<Value> items(in.budget, m.entries.size());
  for (const auto& [key, value] : m.entries)
    items.add(flavor == Flavor::keys ? key : flavor == Flavor::values ? value : in.list({key, value}, Flavor::tuple));
  return in.list(items.take(), flavor);
}

}  // namespace halyard::jinja
