// Buffers: typed, shaped, reference-counted memory of a device, or an exact byte window of one.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "halyard/base/guarded.h"
#include "halyard/base/result.h"
#include "halyard/base/types.h"

namespace halyard {

class Allocation;

/// A handle: copying it shares the memory. A default-constructed Buffer is null; using it in a call is an error.
class Buffer {
 public:
  Buffer() = default;

  explicit operator bool() const { return allocation_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  /// Bytes of the window.
  std::size_t size_bytes() const { return size_; }
  /// Where the window begins in the allocation.
  std::size_t offset_bytes() const { return offset_; }

  /// Copies `values` to the start of the window, after all committed work that uses this memory. T must have the
  /// buffer's element type; more values than the window holds is an error, fewer leave the rest as it is.
  template <class T> Result<void> write(std::span<const T> values) {
    return guarded([&] { return write_bytes(dtype_of<T>::value, values.data(), values.size()); });
  }
  /// The whole window, after all committed work that uses this memory. T must have the buffer's element type.
  template <class T> Result<std::vector<T>> read() const {
    return guarded([&]() -> Result<std::vector<T>> {
      HALYARD_TRY(check_element(dtype_of<T>::value));
      std::vector<T> values(shape_.elements());
      HALYARD_TRY(read_bytes(values.data()));
      return values;
    });
  }
  /// The window's memory itself: host-visible memory only, else Errc::unsupported. The caller keeps out of the way of
  /// work in flight.
  template <class T> Result<std::span<T>> map() {
    return guarded([&]() -> Result<std::span<T>> {
      HALYARD_TRY(check_element(dtype_of<T>::value));
      void* p = HALYARD_TRY(map_bytes());
      return std::span<T>(static_cast<T*>(p), shape_.elements());
    });
  }
  /// The exact window of `shape` elements of `dtype` that begins `offset_bytes` into this one. The offset must be a
  /// multiple of the element size and the window must lie inside this one.
  Result<Buffer> view(std::size_t offset_bytes, DType dtype, Shape shape) const {
    return guarded([&] { return window(offset_bytes, dtype, shape); });
  }

  /// The memory behind the window; hal-internal code and drivers only.
  const std::shared_ptr<Allocation>& allocation() const { return allocation_; }
  Buffer(std::shared_ptr<Allocation> a, std::size_t offset, DType dtype, Shape shape);

 private:
  Result<Buffer> window(std::size_t offset_bytes, DType, const Shape&) const;
  Result<void> check_element(DType) const;
  Result<void> write_bytes(DType, const void* data, std::size_t count);
  Result<void> read_bytes(void* out) const;
  Result<void*> map_bytes();

  std::shared_ptr<Allocation> allocation_;
  std::size_t offset_ = 0;
  std::size_t size_ = 0;
  DType dtype_ = DType::u8;
  Shape shape_;
};

/// read<bool>() goes through vector<bool>, which has no contiguous storage; booleans are read as u8.
template <> Result<std::vector<bool>> Buffer::read<bool>() const = delete;

}  // namespace halyard
