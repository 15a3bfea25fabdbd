#include "halyard/hal/buffer.h"

#include <span>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/state.h"

namespace halyard {

Buffer::Buffer(std::shared_ptr<Allocation> a, std::size_t offset, DType dtype, Shape shape)
    : allocation_(std::move(a)),
      offset_(offset),
      size_(shape.elements() * size_of(dtype)),
      dtype_(dtype),
      shape_(shape) {}

Result<Buffer> Buffer::window(std::size_t offset_bytes, DType dtype, const Shape& shape) const {
  if (!allocation_) return fail(Errc::invalid_state, "view of a null buffer");
  std::size_t bytes = 0;
  if (!shape.elements(bytes) || __builtin_mul_overflow(bytes, size_of(dtype), &bytes))
    return fail(Errc::invalid_argument, fmt::format("view of shape {}: too large", to_string(shape)));
  if (offset_bytes > size_ || bytes > size_ - offset_bytes)
    return fail(Errc::invalid_argument,
                fmt::format("view of {} {} at offset {} needs {} bytes, the buffer has {} from there", to_string(dtype),
                            to_string(shape), offset_bytes, bytes, offset_bytes > size_ ? 0 : size_ - offset_bytes));
  // Where it lies counts, not where in this window: views of views add up, and imported memory may begin anywhere.
  const std::size_t at = offset_ + offset_bytes;
  if ((allocation_->memory.address + at) % size_of(dtype) != 0)
    return fail(Errc::invalid_argument,
                fmt::format("view of {} at offset {}, {} of the allocation: expected a multiple of the "
                            "element's {} bytes",
                            to_string(dtype), offset_bytes, at, size_of(dtype)));
  return Buffer(allocation_, at, dtype, shape);
}

Result<void> Buffer::check_element(DType asked) const {
  if (!allocation_) return fail(Errc::invalid_state, "access to a null buffer");
  if (asked != dtype_)
    return fail(Errc::invalid_argument,
                fmt::format("access as {} to a buffer of {}", to_string(asked), to_string(dtype_)));
  if (allocation_->placeholder) return fail(Errc::invalid_state, "access to a placeholder, which has no memory");
  return {};
}

Result<void*> Buffer::map_bytes() {
  if (!allocation_->memory.host) return fail(Errc::unsupported, "this device's memory is not visible to the host");
  if (allocation_->read_only) return fail(Errc::unsupported, "imported memory is read-only");
  return static_cast<std::byte*>(allocation_->memory.host) + offset_;
}

Result<void> Buffer::write_bytes(DType asked, const void* data, std::size_t count) {
  HALYARD_TRY(check_element(asked));
  if (count > shape_.elements())
    return fail(Errc::invalid_argument,
                fmt::format("write of {} elements to a buffer of {}", count, shape_.elements()));
  if (allocation_->read_only) return fail(Errc::unsupported, "imported memory is read-only");
  HALYARD_TRY(allocation_->device->wait(allocation_->last_use()));
  const std::span bytes(static_cast<const std::byte*>(data), count * size_of(dtype_));
  return bytes.empty() ? Result<void>() : allocation_->device->driver->write(allocation_->memory, offset_, bytes);
}

Result<void> Buffer::read_bytes(void* out) const {
  HALYARD_TRY(allocation_->device->wait(allocation_->last_use()));
  const std::span bytes(static_cast<std::byte*>(out), size_);
  return bytes.empty() ? Result<void>() : allocation_->device->driver->read(allocation_->memory, offset_, bytes);
}

}  // namespace halyard
