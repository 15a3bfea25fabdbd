// Reading files that may be anything: a pipe, a folder, /dev/zero, a link to nothing. Writing them whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  explicit File(std::string path) : path_(std::move(path)) {}
  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

/// A new file that takes the place of `path` once it is whole: readers see the old file or the new one. Until then it has no
/// name where the file system can do that, and one beside `path` that is removed again where it cannot. Movable.
class FileWriter {
 public:
  /// Begins, so that a path that cannot be written is found before any work. Nothing at `path` is changed. Errors name `path`:
  /// a folder that is not there or not writable; a folder or file without write permission in its place; one of the files
  /// `in_use` (by inode, whatever it is called), which would be lost. A link is followed. A device or a pipe (/dev/null,
  /// /dev/stdout) is written as the bytes come.
  static Result<FileWriter> create(const std::string& path, std::span<const std::string> in_use = {});
  FileWriter(FileWriter&& other) noexcept
      : path_(std::move(other.path_)),
        place_(std::move(other.place_)),
        temporary_(std::exchange(other.temporary_, {})),
        mode_(other.mode_),
        is_stream_(other.is_stream_),
        fd_(std::exchange(other.fd_, -1)) {}
  FileWriter& operator=(FileWriter&&) = delete;
  /// Leaves nothing behind unless committed.
  ~FileWriter();

  Result<void> write(std::span<const std::byte>);
  Result<void> write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  /// Puts the file in its place; nothing may follow.
  Result<void> commit();

 private:
  FileWriter(std::string path, std::string place) : path_(std::move(path)), place_(std::move(place)) {}
  Result<void> begin();
  void name(std::string temporary);
  void unname();
  std::string path_;        // as asked for
  std::string place_;       // the same with links followed
  std::string temporary_;   // empty: the file has no name; changed by name() and unname() alone
  unsigned mode_ = 0;       // permissions of the file that is replaced; 0: there is none
  bool is_stream_ = false;  // a device or a pipe
  int fd_ = -1;
};

/// For a signal handler that ends the program: removes what unfinished FileWriters have named. Async-signal-safe.
void remove_unfinished_files() noexcept;

/// Writes a whole file.
Result<void> write_file(const std::string& path, std::string_view text, std::span<const std::string> in_use = {});

/// The names of what is in a folder, in no order.
Result<std::vector<std::string>> names_in(const std::string& folder);

/// The whole of a small file. A file larger than `max_bytes` is refused before anything is allocated.
Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes = std::uint64_t{64} << 20);

/// An error where `text`, the content of `path`, is the pointer that Git LFS leaves in the place of a large file.
Result<void> refuse_lfs_pointer(std::string_view text, const std::string& path);

}  // namespace halyard
