#include "halyard/io/mapped_file.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <limits>
#include <system_error>

#include <fmt/format.h>

namespace halyard {

// The mappings there are, in a list that only grows, so that a signal handler can walk it: places are used again.
struct internal::KnownMapping {
  std::atomic<bool> taken{true};
  std::atomic<const std::byte*> begin{nullptr}, end{nullptr};
  std::atomic<const char*> path{nullptr};
  KnownMapping* next = nullptr;
};

namespace {

using internal::KnownMapping;

std::atomic<KnownMapping*> all_known{nullptr};

KnownMapping* know(std::span<const std::byte> bytes, const std::string& path) {
  KnownMapping* place = all_known.load();
  for (; place; place = place->next)
    if (bool free = false; place->taken.compare_exchange_strong(free, true)) break;
  if (!place) {
    place = new KnownMapping;
    place->next = all_known.load();
    while (!all_known.compare_exchange_weak(place->next, place)) {}
  }
  place->path = path.c_str();
  place->begin = bytes.data();
  place->end = bytes.data() + bytes.size();
  return place;
}

}  // namespace

const char* mapped_file_at(const void* address) noexcept {
  const auto* a = static_cast<const std::byte*>(address);
  for (const KnownMapping* k = all_known.load(); k; k = k->next)
    if (k->begin <= a && a < k->end) return k->path;
  return nullptr;
}

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
    mapping->known = know(mapping->bytes, mapping->file.path());
  }
  return MappedFile(std::move(mapping));
}

MappedFile::Mapping::~Mapping() {
  if (known) {
    known->end = known->begin = nullptr;
    known->taken = false;
  }
  if (!bytes.empty()) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
}

void MappedFile::prefetch() const {
  if (!bytes().empty()) ::madvise(const_cast<std::byte*>(bytes().data()), bytes().size(), MADV_WILLNEED);
}

}  // namespace halyard
