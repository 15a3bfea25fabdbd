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
  File file(fd, 0);
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

Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes) {
  const File file = HALYARD_TRY(File::open(path));
  if (file.size() > max_bytes)
    return fail(Errc::limit_exceeded, fmt::format("{}: {} bytes, at most {} are read", path, file.size(), max_bytes));
  std::string text(file.size(), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::pread(file.fd(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(path, errno);
    if (n == 0) break;  // the file shrank while it was read
    done += static_cast<std::size_t>(n);
  }
  text.resize(done);
  return text;
}

}  // namespace halyard
