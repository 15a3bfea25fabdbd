// The two-way algorithm of M. Crochemore and D. Perrin, "Two-way string-matching", J. ACM 38 (1991): at most some 2 n
// comparisons, and no memory. The needle is cut where its period shows: its right part is compared from left to right, and a
// mismatch there lets the needle pass all that was compared; then its left part from right to left, and a mismatch there
// moves it by its period.
#include "halyard/text/jinja/search.h"

#include <algorithm>
#include <utility>

namespace halyard::jinja {
namespace {

// A text read from its start or from its end.
template <bool backwards> struct Bytes {
  std::string_view s;
  std::size_t size() const { return s.size(); }
  unsigned char operator[](std::size_t i) const {
    return static_cast<unsigned char>(s[backwards ? s.size() - 1 - i : i]);
  }
};

// Where the needle's greatest suffix starts, by the order of bytes or its reverse, and that suffix's period.
template <class B> std::pair<std::size_t, std::size_t> greatest_suffix(const B& needle, bool reverse) {
  std::size_t start = 0, candidate = 1, same = 0, period = 1;
  while (candidate + same < needle.size()) {
    const unsigned char a = needle[candidate + same], b = needle[start + same];
    if (a == b) {
      if (++same == period) {
        candidate += period;
        same = 0;
      }
    } else if (reverse ? a > b : a < b) {
      candidate += same + 1;
      same = 0;
      period = candidate - start;
    } else {
      start = candidate++;
      same = 0;
      period = 1;
    }
  }
  return {start, period};
}

template <class B> std::size_t search(const B& s, const B& needle) {
  constexpr std::size_t none = std::string_view::npos;
  const std::size_t n = needle.size();
  if (n == 0) return 0;
  const auto [cut, period] = std::max(greatest_suffix(needle, false), greatest_suffix(needle, true));
  bool periodic = cut + period <= n;
  for (std::size_t i = 0; periodic && i < cut; ++i) periodic = needle[i] == needle[i + period];
  const std::size_t step = periodic ? period : std::max(cut, n - cut) + 1;

  std::size_t known = 0;  // bytes of the needle's start that are known to match
  for (std::size_t at = 0; at + n <= s.size();) {
    std::size_t i = std::max(cut, known);
    while (i < n && needle[i] == s[at + i]) ++i;
    if (i < n) {
      at += i - cut + 1;
      known = 0;
      continue;
    }
    for (i = cut; i > known && needle[i - 1] == s[at + i - 1];) --i;
    if (i <= known) return at;
    at += step;
    known = periodic ? n - period : 0;
  }
  return none;
}

}  // namespace

std::size_t find_first(std::string_view s, std::string_view needle, std::size_t at) {
  if (needle.size() < 2 || at > s.size()) return s.find(needle, at);
  const std::size_t found = search(Bytes<false>{s.substr(at)}, Bytes<false>{needle});
  return found == s.npos ? found : at + found;
}

std::size_t find_last(std::string_view s, std::string_view needle) {
  if (needle.size() < 2) return s.rfind(needle);
  const std::size_t found = search(Bytes<true>{s}, Bytes<true>{needle});
  return found == s.npos ? found : s.size() - needle.size() - found;
}

}  // namespace halyard::jinja
