#include "halyard/io/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <limits>
#include <system_error>

#include <fmt/format.h>

namespace halyard {

Result<MappedFile> MappedFile::open(const std::string& path) {
  File file = HALYARD_TRY(File::open(path));
  if (file.size() > std::numeric_limits<std::size_t>::max() / 2)
    return fail(Errc::limit_exceeded, fmt::format("{}: {} bytes do not fit the address space", path, file.size()));
  const auto size = static_cast<std::size_t>(file.size());
  auto mapping = std::make_shared<Mapping>(std::move(file));
  if (size > 0) {  // an empty mapping is an error to mmap
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, mapping->file.fd(), 0);
    if (start == MAP_FAILED)
      return fail(Errc::io, fmt::format("{}: cannot be mapped: {}", path, std::generic_category().message(errno)));
    mapping->bytes = {static_cast<const std::byte*>(start), size};
  }
  return MappedFile(std::move(mapping));
}

MappedFile::Mapping::~Mapping() {
  if (!bytes.empty()) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
}

void MappedFile::prefetch() const {
  if (!bytes().empty()) ::madvise(const_cast<std::byte*>(bytes().data()), bytes().size(), MADV_WILLNEED);
}

}  // namespace halyard
