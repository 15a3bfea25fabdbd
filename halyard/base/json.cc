#include "halyard/base/json.h"

#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace halyard {
namespace {

// nlohmann reports through exceptions; they end here.
struct Refused {
  std::string why;
};

template <class J>
Result<J> parse(std::string_view text, JsonLimits limits) {
  std::vector<std::set<std::string>> keys;  // of the objects now open
  const auto watch = [&](int depth, typename J::parse_event_t event, J& value) {
    using Event = typename J::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth >= limits.max_depth)
      throw Refused{fmt::format("nested deeper than {} levels", limits.max_depth)};
    if (!limits.unique_keys) return true;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      const auto& key = value.template get_ref<const std::string&>();
      if (!keys.back().insert(key).second) throw Refused{fmt::format("the key \"{}\" stands twice", key)};
    }
    return true;
  };
  try {
    return J::parse(text.begin(), text.end(), watch);
  } catch (const Refused& r) {
    return fail(Errc::bad_file, "not acceptable JSON: " + r.why);
  } catch (const nlohmann::json::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: …": what follows the bracket is for people
    std::string_view what = e.what();
    if (const auto end = what.find("] "); end != what.npos) what.remove_prefix(end + 2);
    return fail(Errc::bad_file, fmt::format("not valid JSON: {}", what.substr(0, 300)));
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, JsonLimits limits) { return parse<Json>(text, limits); }
Result<OrderedJson> parse_ordered_json(std::string_view text, JsonLimits limits) {
  return parse<OrderedJson>(text, limits);
}

}  // namespace halyard
