#include "halyard/text/jinja/text_filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/tables.h"
#include "halyard/text/jinja/text_ops.h"
#include "halyard/text/jinja/unicode.h"
#include "halyard/text/regex.h"

namespace halyard::jinja {
namespace {

using Int = std::int64_t;

bool given(Call& c, std::size_t i) { return !c.args[i].is_missing() && !c.args[i].is_none(); }
bool flag(Call& c, std::size_t i, bool otherwise) { return c.args[i].is_missing() ? otherwise : truthy(c.args[i]); }

/// What a pattern of this file finds.
/// A pattern, compiled on first use.
template <const char* expression> const text::Pattern& pattern() {
  static const Result<text::Pattern> compiled = text::Pattern::regex(expression);
  if (!compiled) raise(compiled.error().str(), Errc::internal);
  return *compiled;
}

std::vector<text::Span> find_all(Budget& budget, const text::Pattern& pattern, std::string_view s) {
  budget.step(20);
  const Held held(budget, s.size() * 3 * sizeof(text::Span));  // a list that doubles, each byte a match at the worst
  auto found = pattern.find_all(s);
  if (!found) raise(found.error().str(), found.error().code);
  return std::move(*found);
}

bool is_match(Budget& budget, const text::Pattern& pattern, std::string_view s) {
  return !find_all(budget, pattern, s).empty();
}

/// The parts of `s` that the pattern matches and those between: re.split with a group around it.
Grown<std::string_view> split_keeping(Budget& budget, const text::Pattern& pattern, std::string_view s) {
  const auto found = find_all(budget, pattern, s);
  const Held held(budget, found.capacity() * sizeof(text::Span));
  Grown<std::string_view> parts(budget);
  std::size_t at = 0;
  for (const auto& span : found) {
    if (span.begin > at) parts.add(s.substr(at, span.begin - at));
    if (span.end > span.begin) parts.add(s.substr(span.begin, span.end - span.begin));
    at = span.end;
  }
  if (at < s.size()) parts.add(s.substr(at));
  return parts;
}

// --- HTML

/// The text of the entity of that name, semicolon and all; nothing where there is none.
std::string_view entity(std::string_view name) {
  using Entry = std::pair<std::string_view, std::string_view>;
  static const std::vector<Entry> table = [] {
    std::vector<Entry> entries;
    std::string_view all = html_entities;
    const auto next = [&all] {
      const auto word = all.substr(0, all.find(' '));
      all.remove_prefix(std::min(word.size() + 1, all.size()));
      return word;
    };
    while (!all.empty()) {
      const auto have = next();
      entries.emplace_back(have, next());
    }
    std::sort(entries.begin(), entries.end());
    return entries;
  }();
  const auto it = std::lower_bound(table.begin(), table.end(), Entry(name, {}));
  return it != table.end() && it->first == name ? it->second : std::string_view();
}

/// What a numeric reference stands for, by the rules of HTML 5 for those that are no characters.
std::string numeric_reference(std::uint64_t code) {
  static constexpr std::array<char16_t, 32> windows = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
                                                       0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0x8d,   0x17d,  0x8f,
                                                       0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                                       0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
  std::string out;
  if (code == 0 || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) append_char(out, 0xfffd);
  else if (code == 0x0d) out = "\r";
  else if (code >= 0x80 && code < 0xa0) append_char(out, windows[code - 0x80]);
  else if ((code >= 1 && code <= 8) || code == 0xb || (code >= 0xe && code <= 0x1f) || code == 0x7f ||
           (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe)
    return out;
  else append_char(out, static_cast<char32_t>(code));
  return out;
}

/// What follows an '&' and may be a reference: the text that stands for it, and how many bytes of `s` it is.
std::pair<std::string, std::size_t> reference(Budget& budget, std::string_view s) {
  if (s.starts_with('#')) {
    const bool hex = s.size() > 1 && (s[1] == 'x' || s[1] == 'X');
    const std::size_t first = hex ? 2 : 1;
    std::uint64_t code = 0;
    const auto [p, error] =
        std::from_chars(s.data() + std::min(first, s.size()), s.data() + s.size(), code, hex ? 16 : 10);
    auto n = static_cast<std::size_t>(p - s.data());
    if (n <= first || n > s.size()) return {"&", 0};
    if (error != std::errc{}) code = 0x110000;
    if (n < s.size() && s[n] == ';') ++n;
    return {numeric_reference(code), n};
  }
  constexpr std::size_t longest = 32;
  std::size_t n = 0, characters = 0;
  while (n < s.size() && characters < longest && std::string_view("\t\n\f <&#;").find(s[n]) == std::string_view::npos) {
    n += char_bytes(s, n);
    ++characters;
  }
  if (n == 0) return {"&", 0};
  if (n < s.size() && s[n] == ';') ++n;
  for (std::size_t x = n; x > 1; --x) {
    budget.step(4);
    if (const auto found = entity(s.substr(0, x)); !found.empty()) return {std::string(found), x};
  }
  return {"&", 0};
}

}  // namespace

std::string unescape_html(Budget& budget, std::string_view s) {
  Builder out(budget);
  for (std::size_t at = 0; at < s.size();) {
    const std::size_t amp = std::min(s.find('&', at), s.size());
    out.add(s.substr(at, amp - at));
    if (amp == s.size()) break;
    budget.step(4);
    const auto [text, n] = reference(budget, s.substr(amp + 1));
    out.add(text);
    at = amp + 1 + n;
  }
  return out.take();
}

std::string without_tags(Budget& budget, std::string_view s) {
  Builder kept(budget);
  std::size_t at = 0;
  for (std::size_t start; (start = s.find('<', at)) != s.npos;) {
    const bool comment = s.substr(start).starts_with("<!--");
    const std::size_t end = comment ? s.find("-->", start + 4) : s.find('>', start);
    if (end == s.npos) break;
    budget.step(2);
    kept.add(s.substr(at, start - at));
    at = end + (comment ? 3 : 1);
  }
  kept.add(s.substr(at));
  const Value text = make_text(budget, kept.take());
  Builder out(budget);
  const auto words = split_spaces(budget, *text.text(), -1);
  budget.step(words.size());
  for (const auto word : words) out.add(out.size() ? " " : "").add(word);
  const Value joined = make_text(budget, out.take());
  return unescape_html(budget, *joined.text());
}

Value strip_tags(Call& c) { return c.in.text(without_tags(c.in.budget, *to_text(c.in.budget, c.self).text())); }

// HTML that a filter has made: Markup where output is escaped, so that it is not escaped again.
Value html_text(Call& c, Builder& out) {
  Value v = c.in.text(out.take());
  return c.in.autoescape ? v.as_markup() : v;
}

Value xml_attributes(Call& c) {
  require_defined(c.self);
  if (!c.self.mapping()) raise(fmt::format("xmlattr expects a mapping, not {}", type_name(c.self)));
  Builder out(c.in.budget);
  for (const auto& [key, value] : c.self.mapping()->entries) {
    if (value.is_none() || value.is_undefined()) continue;
    const std::string& name = require_text(key, "an attribute's name");
    if (name.find_first_of(" \t\n\r\f\v/>=") != name.npos)
      raise(fmt::format("invalid character in attribute name '{}'", name));
    if (out.size() || flag(c, 0, true)) out.add(" ");
    out.add(*escaped(c.in.budget, key).text()).add("=\"").add(*escaped(c.in.budget, value).text()).add("\"");
  }
  return html_text(c, out);
}

// --- urlize

namespace {

constexpr char http_pattern[] =
    "^(?i:((https?://|www\\.)(([\\w%-]+\\.)+)?([a-z]{2,63}|xn--[\\w%]{2,59})"
    "|([\\w%-]{2,63}\\.)+(com|net|int|edu|gov|org|info|mil)"
    "|(https?://)((([\\d]{1,3})(\\.[\\d]{1,3}){3})|(\\[([\\da-f]{0,4}:){2}([\\da-f]{0,4}:?){1,6}\\])))"
    "(?::[\\d]{1,5})?(?:[/?#]\\S*)?)\\z";
constexpr char scheme_pattern[] = "^[\\w.+-]{2,}:(/){0,2}\\z";
constexpr char gap_pattern[] = "\\s+";
constexpr char word_pattern[] = "\\S+\\s*|\\s+";
constexpr char email_pattern[] = "^\\S+@\\w[\\w.-]*\\.\\w+\\z";

struct LinkStyle {
  std::string attributes;  // rel and target
  Int limit = -1;          // characters of a link that are shown; -1: all
  std::vector<std::string> schemes;
};

std::string shown_link(std::string_view s, Int limit) {
  if (limit < 0 || static_cast<Int>(length(s)) <= limit) return std::string(s);
  return std::string(s.substr(0, byte_of(s, static_cast<std::size_t>(limit)))) + "...";
}

/// The link of a word without its brackets and full stops, or the word.
std::string linked(Budget& budget, const std::string& word, const LinkStyle& style) {
  const bool scheme = word.starts_with("http://") || word.starts_with("https://");
  if (is_match(budget, pattern<http_pattern>(), word))
    return fmt::format("<a href=\"{}{}\"{}>{}</a>", scheme ? "" : "https://", word, style.attributes,
                       shown_link(word, style.limit));
  if (word.starts_with("mailto:") && is_match(budget, pattern<email_pattern>(), word.substr(7)))
    return fmt::format("<a href=\"{}\">{}</a>", word, word.substr(7));
  if (word.find('@') != word.npos && !word.starts_with("www.") && !word.starts_with('@') &&
      word.find(':') == word.npos && is_match(budget, pattern<email_pattern>(), word))
    return fmt::format("<a href=\"mailto:{}\">{}</a>", word, word);
  std::string out = word;
  for (const std::string& s : style.schemes)
    if (out != s && out.starts_with(s)) out = fmt::format("<a href=\"{}\"{}>{}</a>", out, style.attributes, out);
  return out;
}

std::string urlize_word(Budget& budget, std::string_view word, const LinkStyle& style) {
  const auto take = [](std::string_view s, std::initializer_list<std::string_view> any, bool end) -> std::size_t {
    for (const auto a : any)
      if (end ? s.ends_with(a) : s.starts_with(a)) return a.size();
    return 0;
  };
  std::size_t head = 0, tail = word.size();
  while (const std::size_t n = take(word.substr(head), {"(", "<", "&lt;"}, false)) head += n;
  while (const std::size_t n = take(word.substr(head, tail - head), {")", ">", ".", ",", "\n", "&gt;"}, true))
    tail -= n;
  // a closing bracket belongs to the link that opened it
  for (const auto& [open, close] : {std::pair{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}}) {
    const auto middle = word.substr(head, tail - head);
    const std::size_t opened = count_text(budget, middle, open);
    if (opened <= count_text(budget, middle, close)) continue;
    for (std::size_t n = std::min(opened, count_text(budget, word.substr(tail), close)); n > 0; --n)
      tail = word.find(close, tail) + std::string_view(close).size();
  }
  return std::string(word.substr(0, head)) + linked(budget, std::string(word.substr(head, tail - head)), style) +
         std::string(word.substr(tail));
}

}  // namespace

Value urlize(Call& c) {
  Budget& budget = c.in.budget;
  LinkStyle style;
  if (given(c, 0)) style.limit = std::max<Int>(require_int(c.args[0], "urlize's limit"), 0);
  std::vector<std::string> rel{"noopener"};  // Jinja's policy
  if (given(c, 3))
    for (const auto word : split_spaces(budget, require_text(c.args[3], "urlize's rel"), -1)) rel.emplace_back(word);
  if (flag(c, 1, false)) rel.emplace_back("nofollow");
  std::sort(rel.begin(), rel.end());
  rel.erase(std::unique(rel.begin(), rel.end()), rel.end());
  style.attributes =
      fmt::format(" rel=\"{}\"", *escaped(budget, c.in.text(fmt::format("{}", fmt::join(rel, " ")))).text());
  if (given(c, 2) && truthy(c.args[2]))
    style.attributes += fmt::format(" target=\"{}\"", *escaped(budget, c.args[2]).text());
  if (given(c, 4)) {
    const auto schemes = c.in.items_of(c.args[4]);
    for (const Value& s : schemes->items) {
      style.schemes.push_back(require_text(s, "a URI scheme"));
      if (!is_match(budget, pattern<scheme_pattern>(), style.schemes.back()))
        raise(fmt::format("'{}' is not a valid URI scheme prefix", style.schemes.back()));
    }
  }
  const Value s = escaped(budget, c.self);
  Builder out(budget);
  const auto words = split_keeping(budget, pattern<gap_pattern>(), *s.text());
  for (const auto word : words) out.add(urlize_word(budget, word, style));
  return html_text(c, out);
}

// --- wordwrap: Python's textwrap

namespace {

constexpr char space_pattern[] = "[\\t\\n\\x0b\\x0c\\r ]+";
constexpr char wrap_pattern[] =
    "[\\t\\n\\x0b\\x0c\\r ]+"
    "|(?<=[\\w!\"'&.,?])-{2,}(?=\\w)"
    "|[^\\t\\n\\x0b\\x0c\\r ]+?(?:-(?:(?<=[^\\d\\W][^\\d\\W]-)|(?<=[^\\d\\W]-[^\\d\\W]-))(?=[^\\d\\W]-?[^\\d\\W])"
    "|(?=[\\t\\n\\x0b\\x0c\\r ]|\\z)"
    "|(?<=[\\w!\"'&.,?])(?=-{2,}\\w))";

struct WrapStyle {
  std::size_t width = 79;
  bool break_long = true, break_on_hyphens = true;
};

bool blank(std::string_view s) { return strip(s).empty(); }

/// As much of a word that is longer than a line as still fits, by a hyphen where there is one.
std::string_view long_word_head(std::string_view chunk, std::size_t room, const WrapStyle& style) {
  std::size_t end = byte_of(chunk, room);
  if (style.break_on_hyphens && end < chunk.size()) {
    const auto hyphen = chunk.substr(0, end).rfind('-');
    if (hyphen != chunk.npos && hyphen > 0 && chunk.substr(0, hyphen).find_first_not_of('-') != chunk.npos)
      end = hyphen + 1;
  }
  return chunk.substr(0, end);
}

/// Calls add_line with each line of a paragraph.
template <class AddLine> void wrap(Budget& budget, std::string_view s, const WrapStyle& style, AddLine add_line) {
  auto chunks = split_keeping(budget, style.break_on_hyphens ? pattern<wrap_pattern>() : pattern<space_pattern>(), s);
  bool first = true;
  for (std::size_t next = 0; next < chunks.size();) {
    std::string_view line(chunks[next].data(), 0);  // chunks lie one behind the other
    std::size_t size = 0, last = 0;                 // last: bytes of the line's last chunk
    const auto take = [&](std::size_t bytes) {
      line = {line.data(), line.size() + bytes};
      last = bytes;
    };
    if (blank(chunks[next]) && !first) {
      line = {line.data() + chunks[next].size(), 0};
      ++next;
    }
    for (; next < chunks.size() && size + length(chunks[next]) <= style.width; ++next) {
      budget.step();
      size += length(chunks[next]);
      take(chunks[next].size());
    }
    if (next < chunks.size() && length(chunks[next]) > style.width) {
      budget.step(chunks[next].size() / 16);
      if (style.break_long) {
        const auto head = long_word_head(chunks[next], style.width - size, style);
        take(head.size());
        chunks[next].remove_prefix(head.size());
      } else if (line.empty()) {
        take(chunks[next++].size());
      }
    }
    if (last && blank(line.substr(line.size() - last))) line.remove_suffix(last);
    if (line.empty()) continue;
    first = false;
    add_line(line);
  }
}

}  // namespace

Value word_wrap(Call& c) {
  const std::string& s = require_text(c.self, "wordwrap's operand");
  const Int width = c.args[0].is_missing() ? 79 : require_int(c.args[0], "wordwrap's width");
  const WrapStyle style{static_cast<std::size_t>(std::max<Int>(width, 0)), flag(c, 1, true), flag(c, 3, true)};
  const Value newline = c.in.text("\n");
  const Value& between = given(c, 2) ? c.args[2] : newline;
  require_text(between, "wordwrap's wrapstring");
  bool first = true;
  Builder out(c.in.budget);
  const auto paragraphs = split_lines(c.in.budget, s, false);
  for (const auto paragraph : paragraphs) {
    if (width <= 0) raise(fmt::format("invalid width {} (must be > 0)", width));
    if (!std::exchange(first, false)) out.add(*between.text());
    bool first_line = true;
    wrap(c.in.budget, paragraph, style, [&](std::string_view line) {
      if (!std::exchange(first_line, false)) out.add(*between.text());
      if (between.is_markup()) out.add(*escaped(c.in.budget, c.in.text(std::string(line))).text());
      else out.add(line);
    });
  }
  return make_like(c.in.budget, between, out.take());
}

// --- numbers

Value file_size_format(Call& c) {
  const auto* to_float = find_builtin(filters(), "float");
  const Value none = None{};
  const Value number = run_builtin(c.in, *to_float, c.self, {{none}, {}}, "filter 'float'");
  if (!number.number()) raise("filesizeformat expects a number");
  const double bytes = *number.number();
  const bool binary = flag(c, 0, false);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return c.in.text("1 Byte");
  if (bytes < base) {
    if (!std::isfinite(bytes)) raise("cannot convert float infinity to integer");
    return c.in.text(fmt::format("{:.0f} Bytes", std::trunc(bytes) + 0.0));
  }
  constexpr std::string_view prefixes = "kMGTPEZY";
  double unit = base;
  for (std::size_t i = 0;; ++i) {
    unit *= base;
    if (bytes < unit || i + 1 == prefixes.size()) {
      const std::string prefix = binary && i == 0 ? "K" : std::string(1, prefixes[i]);
      return c.in.text(fmt::format("{:.1f} {}{}B", base * bytes / unit, prefix, binary ? "i" : ""));
    }
  }
}

// --- pprint: Python's pprint.pformat, 80 columns

namespace {

/// The value with the entries of its dicts sorted by key; keys without an order stand by their types' names.
Value sorted_dicts(Budget& budget, const Value& v) {
  budget.step();
  if (const auto* s = v.sequence(); s && !s->is_group && (s->flavor == Flavor::list || s->flavor == Flavor::tuple)) {
    std::vector<Value> items;
    for (const Value& item : s->items) items.push_back(sorted_dicts(budget, item));
    return make_list(budget, std::move(items), s->flavor);
  }
  if (!v.mapping()) return v;
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : v.mapping()->entries) entries.emplace_back(key, sorted_dicts(budget, value));
  budget.step(entries.size());
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    const auto *x = a.first.text(), *y = b.first.text();
    if (x && y) return *x < *y;
    if (a.first.number() && b.first.number()) return compare_numbers(a.first, b.first).value_or(0) < 0;
    return type_name(a.first) < type_name(b.first);
  });
  return make_dict(budget, std::move(entries));
}

class PrettyPrinter {
 public:
  explicit PrettyPrinter(Budget& budget) : budget_(budget), out_(budget) {}

  std::string run(const Value& v) {
    print(v, 0, 0, 0);
    return out_.take();
  }

 private:
  static constexpr std::size_t width = 80;

  static bool fits(std::string_view s, std::size_t used) { return length(s) + used <= width; }

  void print(const Value& v, std::size_t indent, std::size_t allowance, int level) {
    const std::string shown = repr(budget_, v);
    if (!fits(shown, indent + allowance)) {
      const auto* s = v.sequence();
      if (v.mapping()) return print_dict(*v.mapping(), indent, allowance, level + 1);
      if (s && !s->is_group && s->flavor == Flavor::list)
        return print_items(*s, "[", "]", indent, allowance, level + 1);
      if (s && !s->is_group && s->flavor == Flavor::tuple)
        return print_items(*s, "(", s->items.size() == 1 ? ",)" : ")", indent, allowance, level + 1);
      if (v.is_text() && !v.is_markup() && !v.text()->empty())
        return print_text(*v.text(), indent, allowance, level + 1);
    }
    out_.add(shown);
  }

  void new_line(std::size_t indent) { out_.add("\n").add(indent, ' '); }

  void print_dict(const Mapping& m, std::size_t indent, std::size_t allowance, int level) {
    out_.add("{");
    for (std::size_t i = 0; i < m.entries.size(); ++i) {
      const bool last = i + 1 == m.entries.size();
      const std::string key = repr(budget_, m.entries[i].first);
      out_.add(key).add(": ");
      print(m.entries[i].second, indent + 1 + length(key) + 2, last ? allowance + 1 : 1, level);
      if (!last) {
        out_.add(",");
        new_line(indent + 1);
      }
    }
    out_.add("}");
  }

  void print_items(const Sequence& s, std::string_view open, std::string_view close, std::size_t indent,
                   std::size_t allowance, int level) {
    out_.add(open);
    for (std::size_t i = 0; i < s.items.size(); ++i) {
      if (i) {
        out_.add(",");
        new_line(indent + 1);
      }
      print(s.items[i], indent + 1, i + 1 == s.items.size() ? allowance + close.size() : 1, level);
    }
    out_.add(close);
  }

  std::string quoted(std::string_view s) { return repr(budget_, make_text(budget_, std::string(s))); }

  void print_text(std::string_view s, std::size_t indent, std::size_t allowance, int level) {
    if (level == 1) ++indent, ++allowance;
    std::vector<std::string> chunks;
    const auto lines = split_lines(budget_, s, true);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const bool last_line = i + 1 == lines.size();
      std::string whole = quoted(lines[i]);
      if (fits(whole, indent + (last_line ? allowance : 0))) {
        chunks.push_back(std::move(whole));
        continue;
      }
      // words with the spaces after them, as many to a line as fit
      const auto parts = find_all(budget_, pattern<word_pattern>(), lines[i]);
      std::size_t start = 0, end = 0;  // of the line being filled
      for (std::size_t j = 0; j < parts.size(); ++j) {
        const bool last = last_line && j + 1 == parts.size();
        if (end > start &&
            !fits(quoted(lines[i].substr(start, parts[j].end - start)), indent + (last ? allowance : 0))) {
          chunks.push_back(quoted(lines[i].substr(start, end - start)));
          start = end;
        }
        end = parts[j].end;
      }
      if (end > start) chunks.push_back(quoted(lines[i].substr(start, end - start)));
    }
    if (level == 1 && chunks.size() > 1) out_.add("(");
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      if (i) new_line(indent);
      out_.add(chunks[i]);
    }
    if (level == 1 && chunks.size() > 1) out_.add(")");
  }

  Budget& budget_;
  Builder out_;
};

}  // namespace

Value pretty_print(Call& c) { return c.in.text(PrettyPrinter(c.in.budget).run(sorted_dicts(c.in.budget, c.self))); }

}  // namespace halyard::jinja
