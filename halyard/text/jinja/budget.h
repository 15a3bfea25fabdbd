// What a render may spend, and the texts and lists that are charged to it as they grow.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "halyard/base/result.h"

namespace halyard::jinja {

/// What parsing and rendering throw; ChatTemplate turns it into an Error. `line` is 0 where the thrower does not know it.
struct Failure {
  Errc code;
  std::string message;
  int line = 0;
};
[[noreturn]] void raise(std::string message, Errc code = Errc::invalid_argument);

/// Steps of work, which bound a render's time; bytes ever built; bytes that are held at once.
class Budget {
 public:
  /// Some tens of nanoseconds: one evaluated node, one visited element, one comparison, 16 bytes of text gone through.
  void step(std::size_t n = 1);
  /// To call before n bytes are built that are soon given up or held.
  void bytes(std::size_t n);
  void hold(std::size_t n);
  void release(std::size_t n) { held_ -= n; }
  /// A value of the context of so many bytes was read: a long chat may take its time, a short one ends at once.
  void allow_for_input(std::size_t bytes);
  std::size_t most_held() const { return most_held_; }

  static constexpr std::size_t max_held = std::size_t{64} << 20;

 private:
  void room_for(std::size_t n) const;
  std::size_t steps_ = 1'500'000, more_steps_ = 8'500'000;
  std::size_t bytes_ = std::size_t{256} << 20;
  std::size_t held_ = 0, most_held_ = 0;
};

/// Bytes that are held as long as this lives.
class Held {
 public:
  Held(Budget& budget, std::size_t bytes) : budget_(&budget), bytes_(bytes) { budget.hold(bytes); }
  Held(Held&& other) noexcept : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
  Held& operator=(Held&&) = delete;
  ~Held() { budget_->release(bytes_); }
  /// Holds as many instead; both at once while they are copied.
  template <class Copy> void grow(std::size_t bytes, Copy copy) {
    budget_->hold(bytes);
    copy();
    budget_->release(std::exchange(bytes_, bytes));
  }
  void drop() { budget_->release(std::exchange(bytes_, 0)); }

 private:
  Budget* budget_;
  std::size_t bytes_;
};

/// A shared value whose bytes are held until its last owner is gone; `budget` must outlive it.
template <class T> std::shared_ptr<T> make_held(Budget& budget, T value, std::size_t bytes) {
  struct Block {
    Block(Budget& b, T v, std::size_t n) : held(b, n), value(std::move(v)) {}
    Held held;
    T value;
  };
  const auto block = std::make_shared<Block>(budget, std::move(value), bytes);
  return {block, &block->value};
}

/// Bytes of the longest string or output.
inline constexpr std::size_t max_text = std::size_t{64} << 20;

/// A list whose capacity is held before it is made.
template <class T> class Grown {
 public:
  explicit Grown(Budget& budget, std::size_t capacity = 0) : budget_(&budget), held_(budget, 0) { reserve(capacity); }
  void reserve(std::size_t n) {
    if (n <= items_.capacity()) return;
    budget_->step(n * sizeof(T) / 64);
    held_.grow(n * sizeof(T), [&] { items_.reserve(n); });
  }
  void add(T item) {
    if (items_.size() == items_.capacity()) reserve(std::max<std::size_t>(4, 2 * items_.size()));
    items_.push_back(std::move(item));
  }
  /// Its items, from now on held by nobody.
  std::vector<T> take() {
    held_.drop();
    return std::move(items_);
  }
  std::size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  T& operator[](std::size_t i) { return items_[i]; }
  const T& operator[](std::size_t i) const { return items_[i]; }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  Budget* budget_;
  Held held_;
  std::vector<T> items_;
};

/// Text whose capacity is held before it is made.
class Builder {
 public:
  explicit Builder(Budget& budget) : budget_(&budget), held_(budget, 0) {}
  Builder& add(std::string_view s);
  Builder& add(std::size_t times, char c);
  /// `times` × the size of `s` must not overflow.
  Builder& add(std::size_t times, std::string_view s);
  /// To call where the size is known beforehand.
  void reserve(std::size_t size);
  /// Its text, from now on held by nobody.
  std::string take() {
    held_.drop();
    return std::move(text_);
  }
  std::size_t size() const { return text_.size(); }

 private:
  void make_room(std::size_t more);
  Budget* budget_;
  Held held_;  // the text's capacity
  std::string text_;
};

}  // namespace halyard::jinja
