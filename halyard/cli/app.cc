#include "halyard/cli/app.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "halyard/base/file.h"
#include "halyard/io/mapped_file.h"

namespace halyard::cli {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{64} << 10;

volatile std::sig_atomic_t interrupt_flag = 0;  // a signal handler can reach nothing else

// The first asks the command to stop; the second ends the program here and now.
extern "C" void halyard_on_interrupt(int signal) {
  if (interrupt_flag) {
    remove_unfinished_files();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupt_flag = signal;
}

// A mapped file has become shorter: no page is there any more. Writes what can be written from here, and ends.
extern "C" void halyard_on_missing_page(int signal, siginfo_t* info, void*) {
  const char* path = mapped_file_at(info->si_addr);
  if (!path) {  // not ours: as if there were no handler
    std::signal(signal, SIG_DFL);
    return;
  }
  for (const char* part : {"\nerror: ", path, ": was cut off while it was in use: ", replace_by_renaming, "\n"})
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  ::_exit(exit_failed);
}

void print_error(std::string_view line) { print_message(fmt::format("error: {}\n", line)); }

/// The full name of the command that the parser had reached.
std::string reached_command(const CLI::App& root) {
  const auto chosen = root.get_subcommands();
  return chosen.empty() ? root.get_name() : root.get_name() + " " + chosen.back()->get_name();
}

int report_usage(const std::string& command, std::string message) {
  print_error(Error{Errc::invalid_argument, std::move(message), {}}.str());
  print_message(fmt::format("Run '{} --help' for what it accepts.\n", command));
  return exit_usage;
}

int report_parse_error(const CLI::App& root, const CLI::ParseError& error) {
  const auto strange = root.remaining();
  if (root.get_subcommands().empty() && !strange.empty()) {
    const bool flag = strange.front().starts_with("-");
    return report_usage(root.get_name(), fmt::format("unknown {} '{}'", flag ? "option" : "command", strange.front()));
  }
  return report_usage(reached_command(root), error.what());
}

/// Ends with what is buffered written out, whatever the command's outcome.
int report_outcome(Context& context, const Result<void>& outcome) {
  const Result<void> flushed = context.out.flush();
  if (interrupted()) return exit_signalled + interrupt_flag;
  if (context.out.reader_gone()) return exit_ok;
  if (!outcome && context.usage_error) return report_usage(context.command, outcome.error().str());
  const Result<void>& first = outcome ? flushed : outcome;
  if (first) return exit_ok;
  print_error(first.error().str());
  return exit_failed;
}

/// llama-bench's -np: the parser knows no names of two letters after one dash.
void spell_out(int argc, char** argv) {
  static char name[] = "--n-parallel";
  for (int i = 2; i < argc; ++i)
    if (argv[1] == std::string_view("bench") && argv[i] == std::string_view("-np")) argv[i] = name;
}

int parse_and_run(CLI::App& root, Context& context, int argc, char** argv) {
  spell_out(argc, argv);
  Result<void> outcome;
  try {
    root.parse(argc, argv);
    outcome = context.body();
  } catch (const CLI::CallForHelp&) {
    outcome = context.out.write(root.help());
  } catch (const CLI::CallForVersion& version) {
    outcome = context.out.write(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& error) { return report_parse_error(root, error); }
  return report_outcome(context, outcome);
}

/// CLI11's help without what only the parser needs, and one empty line between groups.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(46);
    label("SUBCOMMAND", "COMMAND");
  }
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string help = CLI::Formatter::make_help(app, std::move(name), mode);
    for (std::size_t at = 0; (at = help.find("\n\n\n", at)) != std::string::npos;) help.erase(at, 1);
    return help;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = option->get_type_size() == 0 ? "" : " " + option->get_type_name();
    if (!option->get_default_str().empty()) text += " [" + option->get_default_str() + "]";
    return option->get_required() ? text + " (required)" : text;
  }
};

/// Returns when `fd` is ready, or fails after Ctrl-C. The signal is held back except while waiting: it cannot fall between
/// the look at the flag and the wait.
Result<void> wait_ready(int fd, short events) {
  sigset_t held, before;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  sigaddset(&held, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &held, &before);
  pollfd wanted{fd, events, 0};
  if (!interrupted()) ::ppoll(&wanted, 1, nullptr, &before);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return check_interrupted();
}

std::string without_return(std::string line) {
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

Result<void> Output::write(std::string_view text) {
  if (reader_gone_) return fail(Errc::cancelled, "standard output was closed");
  buffer_ += text;
  if (buffer_.size() < chunk_bytes) return {};
  return flush();
}

Result<void> Output::flush() {
  const std::string text = std::exchange(buffer_, {});
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      reader_gone_ = true;
      return fail(Errc::cancelled, "standard output was closed");
    } else if (errno == EINTR) {
      HALYARD_TRY(check_interrupted());
    } else if (errno == EAGAIN) {
      HALYARD_TRY(wait_ready(STDOUT_FILENO, POLLOUT));
    } else {
      return fail(Errc::io, fmt::format("cannot write to standard output: {}", std::strerror(errno)));
    }
  }
  return {};
}

Result<bool> Input::fill() {
  buffer_.erase(0, std::exchange(begin_, 0));
  const std::size_t held = buffer_.size();
  buffer_.resize(held + chunk_bytes);
  ssize_t n = -1;
  do {
    HALYARD_TRY(wait_ready(STDIN_FILENO, POLLIN));
    n = ::read(STDIN_FILENO, buffer_.data() + held, chunk_bytes);
  } while (n < 0 && (errno == EINTR || errno == EAGAIN));
  buffer_.resize(held + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  if (n < 0) return fail(Errc::io, fmt::format("cannot read standard input: {}", std::strerror(errno)));
  return n > 0;
}

Result<std::string> Input::all(std::size_t max_bytes) {
  while (HALYARD_TRY(fill())) {
    if (buffer_.size() > max_bytes)
      return fail(Errc::limit_exceeded, fmt::format("standard input is longer than {} bytes", max_bytes));
  }
  return std::exchange(buffer_, {});
}

Result<std::optional<std::string>> Input::line(std::size_t max_bytes) {
  std::size_t seen = 0;  // bytes of this line already searched
  for (;;) {
    const std::size_t end = buffer_.find('\n', begin_ + seen);
    if (end != std::string::npos) {
      std::string text = buffer_.substr(begin_, end - begin_);
      begin_ = end + 1;
      return without_return(std::move(text));
    }
    seen = buffer_.size() - begin_;
    if (seen > max_bytes)
      return fail(Errc::limit_exceeded, fmt::format("a line of standard input is longer than {} bytes", max_bytes));
    if (HALYARD_TRY(fill())) continue;
    if (buffer_.empty()) return std::nullopt;
    return without_return(std::exchange(buffer_, {}));
  }
}

tl::unexpected<Error> Context::wrong_usage(std::string message) {
  usage_error = true;
  return fail(Errc::invalid_argument, std::move(message));
}

void print_message(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

void open_standard_streams() {
  // 0 and 1 the wrong way round: using them stays the error that it is. `open` takes the lowest free descriptor.
  for (const auto& [fd, mode] :
       {std::pair{STDIN_FILENO, O_WRONLY}, {STDOUT_FILENO, O_RDONLY}, {STDERR_FILENO, O_WRONLY}})
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", mode) < 0) ::_exit(exit_failed);
}

bool interrupted() { return interrupt_flag != 0; }

Result<void> check_interrupted() {
  if (interrupted()) return fail(Errc::cancelled, "interrupted");
  return {};
}

void install_signal_handlers() {
  struct sigaction interrupt = {};
  interrupt.sa_handler = halyard_on_interrupt;
  interrupt.sa_flags = 0;  // no SA_RESTART: a blocked read returns
  ::sigaction(SIGINT, &interrupt, nullptr);
  ::sigaction(SIGTERM, &interrupt, nullptr);
  struct sigaction pipe = {};
  pipe.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &pipe, nullptr);
  struct sigaction missing = {};
  missing.sa_sigaction = halyard_on_missing_page;
  missing.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &missing, nullptr);
}

void set_help_manner(CLI::App& root) {
  root.formatter(std::make_shared<HelpFormatter>());
  root.footer("\nRun 'halyard COMMAND --help' for the options and examples of a command.");
}

CLI::App& add_command(CLI::App& root, const std::string& name, const std::string& what, const std::string& examples) {
  CLI::App& command = *root.add_subcommand(name, what)->group("Commands");
  command.option_defaults()->always_capture_default();
  if (!examples.empty()) command.footer("\nExamples:\n" + examples);
  return command;
}

void on_run(CLI::App& command, Context& context, std::function<Result<void>()> body) {
  command.callback([&command, &context, body = std::move(body)] {
    context.command = command.get_parent()->get_name() + " " + command.get_name();
    context.body = body;
  });
}

int run(CLI::App& root, Context& context, int argc, char** argv) {
  try {
    return parse_and_run(root, context, argc, argv);
  } catch (const std::bad_alloc&) { print_error("out of memory"); } catch (const std::exception& e) {
    print_error(Error{Errc::internal, e.what(), {"unexpected failure"}}.str());
  }
  return exit_failed;
}

namespace {

/// Whether `fd` is a terminal that moves its cursor: TERM=dumb, and none at all, say that it does not.
bool takes_escapes(int fd) {
  const char* term = std::getenv("TERM");
  return ::isatty(fd) == 1 && term && *term && std::string_view(term) != "dumb";
}

}  // namespace

Progress::Progress(std::string label, std::uint64_t total)
    : label_(std::move(label)), total_(total), terminal_(takes_escapes(STDERR_FILENO)) {}

Progress::~Progress() { finish(); }

void Progress::update(std::uint64_t done) {
  if (!terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  drawn_ = true;
  if (total_ == 0) {
    print_message(fmt::format("\r{} {}", label_, done));
    return;
  }
  constexpr std::size_t width = 30;
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
  const auto full = static_cast<std::size_t>(share * width);
  print_message(fmt::format("\r{} [{:=<{}}{:{}}] {}/{}", label_, "", full, "", width - full, done, total_));
}

void Progress::finish() {
  if (std::exchange(drawn_, false)) print_message("\r\x1b[K");
}

std::string default_model_path() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path name = "gutenberg-29m-4bit";
  for (const fs::path& place : {program / "../share/halyard/models" / name, program / "../../../models" / name})
    if (fs::is_directory(place, error)) return place.lexically_normal().string();
  return {};
}

}  // namespace halyard::cli
