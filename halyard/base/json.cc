#include "halyard/base/json.h"

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "halyard/base/json_reader.h"
#include "halyard/base/quote.h"

namespace halyard {
namespace {

// Builds a tree: of all values, or of one member of the root after another.
template <class J> class JsonTree : public JsonEvents {
 public:
  explicit JsonTree(const JsonLimits& limits) : limits_(limits) {}
  J root;
  /// Begins again.
  void clear() {
    root = nullptr;
    values_ = 0;
    open_.clear();
  }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool negative(std::int64_t value) override { return put(value); }
  bool whole(std::uint64_t value) override { return put(value); }
  bool real(double value) override { return put(value); }
  std::optional<bool> large(std::string_view written) override {
    if constexpr (std::is_same_v<J, Json>) return std::nullopt;
    else return put(J::binary({written.begin(), written.end()}));
  }
  bool string(std::string_view value) override { return put(std::string(value)); }
  bool start_object() override { return put(J::object()) && open(); }
  bool start_array() override { return put(J::array()) && open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string_view name) override {
    bool fresh = false;
    place_ = member(open_.back(), name, fresh);
    if (fresh || !limits_.unique_keys) return true;
    return refuse(fmt::format("not acceptable JSON: the key {} stands twice", in_quotes(name)));
  }

 private:
  using Index = std::map<std::string, std::size_t, std::less<>>;
  struct Container {
    J* value;
    std::unique_ptr<Index> index;  // of an ordered object's keys, once there are many
  };
  static constexpr std::size_t kManyKeys = 32;

  static J* member(Container& in, std::string_view name, bool& fresh) {
    if constexpr (std::is_same_v<J, Json>) {
      auto& object = in.value->template get_ref<typename J::object_t&>();
      const auto added = object.try_emplace(std::string(name), nullptr);
      fresh = added.second;
      return &added.first->second;
    } else {
      typename J::object_t::Container& object =
          in.value->template get_ref<typename J::object_t&>();  // a vector of pairs
      if (!in.index && object.size() >= kManyKeys) {
        in.index = std::make_unique<Index>();
        for (std::size_t i = 0; i < object.size(); ++i) in.index->emplace(object[i].first, i);
      }
      std::size_t at = object.size();
      if (in.index) {
        at = in.index->try_emplace(std::string(name), at).first->second;
      } else {
        for (std::size_t i = 0; i < object.size(); ++i)
          if (object[i].first == name) at = i;
      }
      fresh = at == object.size();
      if (fresh) object.emplace_back(std::string(name), nullptr);
      return &object[at].second;
    }
  }

  bool put(J value) {
    if (++values_ > limits_.max_values)
      return refuse(fmt::format("not acceptable JSON: more than {} values", limits_.max_values), Errc::limit_exceeded);
    if (open_.empty()) {
      root = std::move(value);
      place_ = &root;
    } else if (open_.back().value->is_array()) {
      auto& array = open_.back().value->template get_ref<typename J::array_t&>();
      array.push_back(std::move(value));
      place_ = &array.back();
    } else {
      *place_ = std::move(value);
    }
    return true;
  }
  bool open() {
    open_.push_back({place_, nullptr});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  std::size_t values_ = 0;
  std::vector<Container> open_;  // outermost first. A container does not grow while one within it is open.
  J* place_ = nullptr;           // the value last put, or of the key last read
};

// Hands each member of the root to a function, its value built by a tree of its own.
class JsonMembers : public JsonEvents {
 public:
  JsonMembers(const JsonMember& member, const JsonLimits& limits) : member_(member), tree_(limits) {}

  bool null() override {
    return forward([&] { return tree_.null(); });
  }
  bool boolean(bool value) override {
    return forward([&] { return tree_.boolean(value); });
  }
  bool negative(std::int64_t value) override {
    return forward([&] { return tree_.negative(value); });
  }
  bool whole(std::uint64_t value) override {
    return forward([&] { return tree_.whole(value); });
  }
  bool real(double value) override {
    return forward([&] { return tree_.real(value); });
  }
  bool string(std::string_view value) override {
    return forward([&] { return tree_.string(value); });
  }
  bool start_object() override {
    if (depth_++ == 0) return true;
    return pass(tree_.start_object());
  }
  bool start_array() override {
    if (depth_++ == 0) return not_an_object("a list");
    return pass(tree_.start_array());
  }
  bool end_object() override { return --depth_ == 0 || end(tree_.end_object()); }
  bool end_array() override { return end((--depth_, tree_.end_array())); }
  bool key(std::string_view name) override {
    if (depth_ > 1) return pass(tree_.key(name));
    name_ = name;
    return true;
  }

 private:
  template <class F> bool forward(F put) {
    if (depth_ == 0) return not_an_object("a single value");
    return end(put());
  }
  bool not_an_object(std::string_view got) { return refuse(fmt::format("expected a JSON object, got {}", got)); }
  bool pass(bool ok) {
    if (!ok) refusal = std::move(tree_.refusal);
    return ok;
  }
  // After a whole value: a member's, where nothing but the root is open.
  bool end(bool ok) {
    if (!pass(ok) || depth_ != 1) return ok;
    auto done = member_(name_, std::move(tree_.root));
    tree_.clear();
    if (!done) refusal = std::move(done).error();
    return done.has_value();
  }

  const JsonMember& member_;
  JsonTree<Json> tree_;
  std::string name_;
  int depth_ = 0;
};

template <class J> Result<J> parse(std::string_view text, const JsonLimits& limits) {
  JsonTree<J> tree(limits);
  HALYARD_TRY(read_json(text, tree, limits.max_depth));
  return std::move(tree.root);
}

}  // namespace

Result<Json> parse_json(std::string_view text, JsonLimits limits) { return parse<Json>(text, limits); }
Result<OrderedJson> parse_ordered_json(std::string_view text, JsonLimits limits) {
  return parse<OrderedJson>(text, limits);
}

Result<void> read_json_members(std::string_view text, const JsonMember& member, JsonLimits limits) {
  JsonMembers members(member, limits);
  return read_json(text, members, limits.max_depth);
}

}  // namespace halyard
