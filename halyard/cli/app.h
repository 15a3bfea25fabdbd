// What every command of the program shares: its output and input, interruption, progress, and how it ends.
//
// A command is one file with one function, registered by one line in main.cc:
//
//   void add_inspect(CLI::App& root, Context& context) {
//     auto flags = std::make_shared<Flags>();
//     CLI::App& command = add_command(root, "inspect", "Describe a model");
//     command.add_option("model", flags->model)->required();
//     on_run(command, context, [flags, &context] { return inspect(*flags, context); });
//   }
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "halyard/base/result.h"

namespace halyard::cli {

/// Exit codes of the program.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_signalled = 128;  ///< and the signal that ended the command: 130 for Ctrl-C, 143 for SIGTERM

/// Standard output, buffered. A reader that went away (EPIPE) makes every later write fail with Errc::cancelled, so a
/// command stops by passing the error on; the program then ends quietly.
class Output {
 public:
  Result<void> write(std::string_view text);
  /// Writes what is buffered; call it where a person waits for the text.
  Result<void> flush();
  bool reader_gone() const { return reader_gone_; }

 private:
  std::string buffer_;
  bool reader_gone_ = false;
};

/// Standard input.
class Input {
 public:
  /// Everything up to the end of the input. Errors: larger than `max_bytes`, unreadable, interrupted.
  Result<std::string> all(std::size_t max_bytes = std::size_t{1} << 30);
  /// The next line without its newline (and carriage return), or no value at the end.
  Result<std::optional<std::string>> line(std::size_t max_bytes = std::size_t{64} << 20);
  /// Whether `line` has a whole line in hand, so that it would not wait.
  bool has_line() const { return buffer_.find('\n', begin_) != std::string::npos; }

 private:
  Result<bool> fill();  // reads more into buffer_; false at the end
  std::string buffer_;
  std::size_t begin_ = 0;  // of what `line` has not handed out yet
};

struct Context {
  Output out;
  Input in;
  /// The body of the command that was chosen; set by on_run.
  std::function<Result<void>()> body;
  /// The command's full name, for hints: "halyard generate".
  std::string command = "halyard";
  bool usage_error = false;

  /// The failure to return where flags contradict each other in a way the parser cannot see: exit code 2.
  tl::unexpected<Error> wrong_usage(std::string message);
};

/// Writes to standard error. What cannot be written there is lost: a full disk or a closed descriptor costs no results.
void print_message(std::string_view text);

/// Takes the descriptors 0 to 2 where they are closed, before any file gets one of them. Reading or writing them still fails.
void open_standard_streams();

/// Whether Ctrl-C was pressed, or SIGTERM came. A second one ends the program at once.
bool interrupted();
/// Fails with Errc::cancelled after Ctrl-C: for loops that may run long.
Result<void> check_interrupted();
/// Installs the handlers of SIGINT, SIGTERM, SIGPIPE and SIGBUS.
void install_signal_handlers();

/// How the help pages look; before any command is added.
void set_help_manner(CLI::App& root);

/// Adds a command with the manner of all: flags grouped, wrong values refused, `examples` at the end of its help.
CLI::App& add_command(CLI::App& root, const std::string& name, const std::string& what,
                      const std::string& examples = {});

/// Makes `body` what the program does when `command` is chosen. It runs after parsing.
void on_run(CLI::App& command, Context& context, std::function<Result<void>()> body);

/// Parses, runs, reports: the exit code.
int run(CLI::App& root, Context& context, int argc, char** argv);

/// A line on standard error that shows how far a long task is. Silent where standard error is no terminal, or one that
/// takes no escape codes (TERM=dumb).
class Progress {
 public:
  /// `total` in whatever unit `update` counts; 0 where it is not known.
  Progress(std::string label, std::uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Redraws at most ten times a second.
  void update(std::uint64_t done);
  /// Removes the line.
  void finish();

 private:
  std::string label_;
  std::uint64_t total_;
  bool terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point next_{};
};

/// The model that ships with the program: beside an installed one in ../share/halyard/models, beside a built one in the
/// checkout's models/. Empty where neither is there.
std::string default_model_path();

}  // namespace halyard::cli
