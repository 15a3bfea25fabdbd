#include "halyard/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace halyard {
namespace {
tl::unexpected<Error> os_error(const std::string& path, int code) {
  return fail(code == ENOENT ? Errc::not_found : Errc::io,
              fmt::format("{}: {}", path, std::generic_category().message(code)));
}
}  // namespace

Result<File> File::open(const std::string& path) {
  if (path.find('\0') != path.npos) return fail(Errc::invalid_argument, fmt::format("{}: a path holds no NUL", path));
  // O_NONBLOCK: a pipe that nobody writes to opens at once and is then refused for what it is.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return os_error(path, errno);
  File file(path, fd);
  struct stat st {};
  if (::fstat(fd, &st) != 0) return os_error(path, errno);
  if (S_ISDIR(st.st_mode)) return fail(Errc::bad_file, fmt::format("{}: expected a file, this is a folder", path));
  if (!S_ISREG(st.st_mode))
    return fail(Errc::bad_file, fmt::format("{}: expected a regular file, this is a pipe, socket or device", path));
  file.size_ = static_cast<std::uint64_t>(st.st_size);
  return file;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> File::read(std::uint64_t at, std::size_t bytes) const {
  std::string text(bytes, '\0');
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t n = ::pread(fd_, text.data() + done, bytes - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(path_, errno);
    if (n == 0)
      return fail(Errc::io, fmt::format("{}: ends after {} bytes, expected {} more: it was cut off while it was read", path_,
                                        at + done, bytes - done));
    done += static_cast<std::size_t>(n);
  }
  return text;
}

Result<void> File::check_size() const {
  struct stat st {};
  if (::fstat(fd_, &st) != 0) return os_error(path_, errno);
  const auto now = static_cast<std::uint64_t>(st.st_size);
  if (now >= size_) return {};
  return fail(Errc::io, fmt::format("{}: {} bytes, but {} when it was opened: {}", path_, now, size_, replace_by_renaming));
}

Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes) {
  const File file = HALYARD_TRY(File::open(path));
  if (file.size() > max_bytes)
    return fail(Errc::limit_exceeded, fmt::format("{}: {} bytes, at most {} are read", path, file.size(), max_bytes));
  return file.read(0, static_cast<std::size_t>(file.size()));
}

Result<void> refuse_lfs_pointer(std::string_view text, const std::string& path) {
  if (!text.starts_with("version https://git-lfs.github.com/spec/")) return {};
  return fail(Errc::bad_file,
              fmt::format("{}: a Git LFS pointer, not the file itself: fetch it with git lfs pull", path));
}

}  // namespace halyard
