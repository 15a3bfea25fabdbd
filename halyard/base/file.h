// Opening and reading files that may be anything: a pipe, a folder, /dev/zero, a link to nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "halyard/base/result.h"

namespace halyard {

/// What to say of a file that has become shorter while it was in use.
inline constexpr char replace_by_renaming[] = "replace a file in use by renaming a new one over it, never in place";

/// An open, read-only, regular file. Movable; closes itself.
class File {
 public:
  /// Opens `path` without ever blocking. Errors name the path: not_found, io, or bad_file where it is not a regular file.
  static Result<File> open(const std::string& path);
  File(File&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}
  File& operator=(File&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(fd_, other.fd_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~File();

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  /// Bytes, as the file system says.
  std::uint64_t size() const { return size_; }

  /// The bytes [at, at + bytes). An error where the file ends before: it may shrink while it is open.
  Result<std::string> read(std::uint64_t at, std::size_t bytes) const;
  /// An error where the file is shorter than it was when it was opened.
  Result<void> check_size() const;

 private:
  File(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

/// The whole of a small file. A file larger than `max_bytes` is refused before anything is allocated.
Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes = std::uint64_t{64} << 20);

/// An error where `text`, the content of `path`, is the pointer that Git LFS leaves in the place of a large file.
Result<void> refuse_lfs_pointer(std::string_view text, const std::string& path);

}  // namespace halyard
