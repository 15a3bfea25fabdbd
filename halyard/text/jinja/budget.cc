#include "halyard/text/jinja/budget.h"

namespace halyard::jinja {

void raise(std::string message, Errc code) { throw Failure{code, std::move(message)}; }

void Budget::step(std::size_t n) {
  if (n > steps_) raise("does too many steps of work for what it was given", Errc::limit_exceeded);
  steps_ -= n;
}

void Budget::bytes(std::size_t n) {
  if (n > bytes_) raise("builds more than 256 MiB of text and lists", Errc::limit_exceeded);
  room_for(n);
  step(n / 128);
  bytes_ -= n;
}

void Budget::room_for(std::size_t n) const {
  if (n > max_held - held_) raise("holds more than 64 MiB of text and lists", Errc::limit_exceeded);
}

void Budget::hold(std::size_t n) {
  room_for(n);
  held_ += n;
  most_held_ = std::max(most_held_, held_);
}

void Budget::allow_for_input(std::size_t bytes) {
  const std::size_t n = std::min<std::size_t>(more_steps_, 3000 + bytes);
  more_steps_ -= n;
  steps_ += n;
}

void Builder::reserve(std::size_t size) {
  if (size > max_text) raise("builds a text of more than 64 MiB", Errc::limit_exceeded);
  if (size > text_.capacity()) held_.grow(size, [&] { text_.reserve(size); });
}

void Builder::make_room(std::size_t more) {
  budget_->bytes(more);
  if (more > max_text - text_.size()) raise("builds a text of more than 64 MiB", Errc::limit_exceeded);
  const std::size_t size = text_.size() + more;
  if (size > text_.capacity()) reserve(std::min(std::max(size, 2 * text_.capacity()), max_text));
}

Builder& Builder::add(std::string_view s) {
  make_room(s.size());
  text_ += s;
  return *this;
}

Builder& Builder::add(std::size_t times, char c) { return add(times, {&c, 1}); }

Builder& Builder::add(std::size_t times, std::string_view s) {
  const std::size_t begin = text_.size(), end = begin + times * s.size();
  make_room(end - begin);
  if (end > begin) text_ += s;
  while (text_.size() < end) text_.append(text_, begin, std::min(text_.size() - begin, end - text_.size()));
  return *this;
}

}  // namespace halyard::jinja
