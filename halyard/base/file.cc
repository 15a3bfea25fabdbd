#include "halyard/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <filesystem>
#include <memory>
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
  File file(path);
  file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd_ < 0) return os_error(path, errno);
  struct stat st {};
  if (::fstat(file.fd_, &st) != 0) return os_error(path, errno);
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
      return fail(Errc::io, fmt::format("{}: ends after {} bytes, expected {} more: it was cut off while it was read",
                                        path_, at + done, bytes - done));
    done += static_cast<std::size_t>(n);
  }
  return text;
}

Result<void> File::check_size() const {
  struct stat st {};
  if (::fstat(fd_, &st) != 0) return os_error(path_, errno);
  const auto now = static_cast<std::uint64_t>(st.st_size);
  if (now >= size_) return {};
  return fail(Errc::io,
              fmt::format("{}: {} bytes, but {} when it was opened: {}", path_, now, size_, replace_by_renaming));
}

Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes) {
  const File file = HALYARD_TRY(File::open(path));
  if (file.size() > max_bytes)
    return fail(Errc::limit_exceeded, fmt::format("{}: {} bytes, at most {} are read", path, file.size(), max_bytes));
  return file.read(0, static_cast<std::size_t>(file.size()));
}

// Not std::filesystem's iterator: libstdc++ ends the program where there is no memory for a name.
Result<std::vector<std::string>> names_in(const std::string& folder) {
  const std::unique_ptr<DIR, decltype([](DIR* d) { ::closedir(d); })> open(::opendir(folder.c_str()));
  if (!open) return os_error(folder, errno);
  for (std::vector<std::string> names;;) {
    errno = 0;
    const dirent* const entry = ::readdir(open.get());
    if (!entry && errno != 0) return os_error(folder, errno);
    if (!entry) return names;
    if (const std::string_view name = entry->d_name; name != "." && name != "..") names.emplace_back(name);
  }
}

Result<void> refuse_lfs_pointer(std::string_view text, const std::string& path) {
  if (!text.starts_with("version https://git-lfs.github.com/spec/")) return {};
  return fail(Errc::bad_file,
              fmt::format("{}: a Git LFS pointer, not the file itself: fetch it with git lfs pull", path));
}

// ------------------------------------------------------------------------------------------------------------ writing

namespace {

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// Calls `make` with one name after another beside `path` until one is free. Short ones: `path` may be as long as names go.
template <class Make>
Result<std::string> under_a_free_name(const std::string& path, const std::string& place, Make make) {
  for (unsigned n = 0; n < 1000; ++n) {
    std::string name = fmt::format("{}/.halyard-{}-{}.tmp", folder_of(place), ::getpid(), n);
    if (make(name.c_str()) >= 0) return name;
    if (errno == EEXIST) continue;
    const std::string folder = folder_of(place);
    if (errno == ENOENT && ::access(folder.c_str(), F_OK) == 0)  // /proc says so
      return fail(Errc::io, fmt::format("{}: no file can be made in the folder {}", path, folder));
    return os_error(path, errno);
  }
  return os_error(path, EEXIST);
}

// Signals wait until the end of the block, so that none ends the program between a name and its removal.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsHeld() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;

 private:
  sigset_t before_;
};

// What a signal handler would have to remove. Its memory is never given back, so the handler may read it at any moment; a
// name that is out of date is one of ours that is gone.
struct Unfinished {
  std::atomic<bool> used, named;
  std::array<char, PATH_MAX> path;
};
std::array<Unfinished, 8> all_unfinished;

std::string own_descriptor(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace

Result<FileWriter> FileWriter::create(const std::string& path, std::span<const std::string> in_use) {
  if (path.empty()) return fail(Errc::invalid_argument, "an empty path to write to");
  if (path.find('\0') != path.npos) return fail(Errc::invalid_argument, fmt::format("{}: a path holds no NUL", path));
  std::string place = path;
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0) {
    if (S_ISDIR(there.st_mode))
      return fail(Errc::invalid_argument, fmt::format("{}: expected a file to write, this is a folder", path));
    if (!S_ISREG(there.st_mode)) {
      FileWriter stream(path, path);
      stream.is_stream_ = true;
      stream.fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
      if (stream.fd_ < 0) return os_error(path, errno);
      return stream;
    }
    for (const std::string& other : in_use) {
      struct stat used {};
      if (::stat(other.c_str(), &used) == 0 && used.st_dev == there.st_dev && used.st_ino == there.st_ino)
        return fail(Errc::invalid_argument, fmt::format("{}: is in use as input ({}) and would be lost", path, other));
    }
    if (::access(path.c_str(), W_OK) != 0) return os_error(path, errno);
    std::error_code error;
    place = std::filesystem::canonical(path, error).string();
    if (error) return os_error(path, error.value());
  } else if (struct stat link{}; ::lstat(path.c_str(), &link) == 0) {
    return fail(Errc::not_found, fmt::format("{}: a link to nothing", path));
  }
  FileWriter writer(path, std::move(place));
  writer.mode_ = there.st_mode & 07777U;
  HALYARD_TRY(writer.begin());
  return writer;
}

Result<void> FileWriter::begin() {
  const std::size_t slash = path_.rfind('/');
  if (slash != path_.npos && slash + 1 == path_.size()) return os_error(path_, EISDIR);
  fd_ = ::open(folder_of(place_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (fd_ >= 0 && ::access(own_descriptor(fd_).c_str(), F_OK) == 0) return {};
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  const auto make = [&](const char* name) { return fd_ = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); };
  const SignalsHeld held;
  name(HALYARD_TRY(under_a_free_name(path_, place_, make)));
  return {};
}

void remove_unfinished_files() noexcept {
  for (const Unfinished& file : all_unfinished)
    if (file.named) ::unlink(file.path.data());
}

// Where all places are taken, or the name is too long for one, a handler does not know of it.
void FileWriter::name(std::string temporary) {
  temporary_ = std::move(temporary);
  for (Unfinished& file : all_unfinished) {
    if (temporary_.size() >= file.path.size() || file.used.exchange(true)) continue;
    std::copy_n(temporary_.c_str(), temporary_.size() + 1, file.path.begin());
    file.named = true;
    return;
  }
}

void FileWriter::unname() {
  for (Unfinished& file : all_unfinished) {
    if (!file.named || temporary_ != file.path.data()) continue;
    file.named = false;
    file.used = false;
  }
  temporary_.clear();
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
  unname();
}

Result<void> FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error(path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> FileWriter::commit() {
  if (is_stream_) return ::close(std::exchange(fd_, -1)) == 0 ? Result<void>() : os_error(path_, errno);
  if (mode_ != 0) ::fchmod(fd_, mode_);  // where it may not be kept, a new file's permissions do
  if (::fsync(fd_) != 0) return os_error(path_, errno);
  const SignalsHeld held;
  if (temporary_.empty()) {
    const std::string from = own_descriptor(fd_);
    const auto link = [&](const char* name) {
      return ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, name, AT_SYMLINK_FOLLOW);
    };
    name(HALYARD_TRY(under_a_free_name(path_, place_, link)));
  }
  if (::close(std::exchange(fd_, -1)) != 0) return os_error(path_, errno);
  if (::rename(temporary_.c_str(), place_.c_str()) != 0) return os_error(path_, errno);
  unname();
  return {};
}

Result<void> write_file(const std::string& path, std::string_view text, std::span<const std::string> in_use) {
  FileWriter writer = HALYARD_TRY(FileWriter::create(path, in_use));
  HALYARD_TRY(writer.write(text));
  return writer.commit();
}

}  // namespace halyard
