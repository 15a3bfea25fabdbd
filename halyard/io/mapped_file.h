// A file's bytes in memory without reading them: pages come from disk when touched.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "halyard/base/file.h"
#include "halyard/base/result.h"

namespace halyard {

namespace internal {
struct KnownMapping;
}

/// A regular file mapped read-only and private. Copies share the mapping; the last one unmaps.
///
/// The size is that at the time of opening. If another process truncates the file afterwards, touching what was cut off
/// raises SIGBUS, as for every mapped file: weights are replaced by renaming a new file over them, never in place. Who is
/// about to touch much of it asks check_size() first; a program that would say which file it was handles the signal with
/// mapped_file_at().
class MappedFile {
 public:
  /// Maps the whole of `path`. Errors name the path: not_found, io, or bad_file where it is not a regular file.
  static Result<MappedFile> open(const std::string& path);

  std::span<const std::byte> bytes() const { return mapping_->bytes; }
  const std::string& path() const { return mapping_->file.path(); }
  /// The path, sharing ownership of the mapping: whoever holds it may use bytes().
  std::shared_ptr<const std::string> owner() const { return {mapping_, &mapping_->file.path()}; }
  /// The file itself.
  const File& file() const { return mapping_->file; }
  /// An error where the file has become shorter since it was opened.
  Result<void> check_size() const { return mapping_->file.check_size(); }
  /// Asks the operating system to read the file ahead; returns at once on most systems.
  void prefetch() const;

 private:
  struct Mapping {
    File file;
    std::span<const std::byte> bytes;
    explicit Mapping(File f) : file(std::move(f)) {}
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();
    internal::KnownMapping* known = nullptr;  // where mapped_file_at() finds it
  };
  explicit MappedFile(std::shared_ptr<const Mapping> mapping) : mapping_(std::move(mapping)) {}
  std::shared_ptr<const Mapping> mapping_;
};

/// The path of the mapped file that `address` lies in; null where it lies in none. May be called by a signal handler on a
/// thread that has just touched the address.
const char* mapped_file_at(const void* address) noexcept;

}  // namespace halyard
