#include "halyard/base/types.h"

#include <fmt/ranges.h>

namespace halyard {
namespace {
struct DTypeInfo {
  std::string_view name;
  std::size_t size;
};
constexpr DTypeInfo kInfo[] = {{"f32", 4}, {"f16", 2}, {"bf16", 2}, {"f64", 8}, {"i8", 1},  {"u8", 1},  {"i16", 2},
                               {"u16", 2}, {"i32", 4}, {"u32", 4},  {"i64", 8}, {"u64", 8}, {"bool", 1}};
}  // namespace

std::size_t size_of(DType t) { return kInfo[static_cast<std::size_t>(t)].size; }
std::string_view to_string(DType t) { return kInfo[static_cast<std::size_t>(t)].name; }

Shape::Shape(std::span<const std::size_t> dims) : rank_(dims.size()) {
  if (ok()) std::copy(dims.begin(), dims.end(), dims_.begin());
}

bool Shape::elements(std::size_t& count) const {
  if (!ok()) return false;
  // A zero extent makes the product zero whatever the others are; checking it first keeps [0, 2^40, 2^40] valid.
  count = std::find(dims().begin(), dims().end(), 0U) == dims().end() ? 1 : 0;
  for (const std::size_t d : dims())
    if (__builtin_mul_overflow(count, d, &count)) return false;
  return true;
}

std::string to_string(const Shape& s) {
  if (!s.ok()) return fmt::format("[{} extents]", s.rank());
  return fmt::format("[{}]", fmt::join(s.dims(), ", "));
}

}  // namespace halyard
