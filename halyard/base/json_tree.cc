// JSON's text as a tree, or as the trees of one object's members.
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/base/json_members.h"
#include "halyard/base/json_reader.h"
#include "halyard/base/quote.h"

namespace halyard {
namespace {

// Builds a tree: of all values, or of one member of the root after another.
class JsonTree : public JsonEvents {
 public:
  explicit JsonTree(const JsonLimits& limits) : limits_(limits) {}
  Json root;
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
    if (!limits_.exact_integers) return std::nullopt;
    return put(Json::from_digits(written));
  }
  bool string(std::string_view value) override { return put(value); }
  bool start_object() override { return put(Json::object()) && open(); }
  bool start_array() override { return put(Json::array()) && open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string_view name) override {
    const auto [place, fresh] = open_.back()->add(name);
    place_ = place;
    if (fresh || !limits_.unique_keys) return true;
    return refuse(fmt::format("not acceptable JSON: the key {} stands twice", in_quotes(name)));
  }

 private:
  bool put(Json value) {
    if (++values_ > limits_.max_values)
      return refuse(fmt::format("not acceptable JSON: more than {} values", limits_.max_values), Errc::limit_exceeded);
    if (open_.empty()) *(place_ = &root) = std::move(value);
    else if (open_.back()->is_array()) place_ = &open_.back()->push_back(std::move(value));
    else *place_ = std::move(value);
    return true;
  }
  bool open() {
    open_.push_back(place_);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  std::size_t values_ = 0;
  std::vector<Json*> open_;  // the containers now open, outermost first. None grows while one within it is open.
  Json* place_ = nullptr;    // the value last put, or of the key last read
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
  JsonTree tree_;
  std::string name_;
  int depth_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text, JsonLimits limits) {
  return guarded([&]() -> Result<Json> {
    JsonTree tree(limits);
    HALYARD_TRY(read_json(text, tree, limits.max_depth));
    return std::move(tree.root);
  });
}

Result<void> read_json_members(std::string_view text, const JsonMember& member, JsonLimits limits) {
  return guarded([&] {
    JsonMembers members(member, limits);
    return read_json(text, members, limits.max_depth);
  });
}

}  // namespace halyard
