// The program as a user meets it: what it prints, where, and how it ends.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "halyard/base/json.h"
#include "halyard/testing/json.h"
#include "halyard/testing/paths.h"

namespace halyard {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A folder of the running test's own, removed with it.
class CliTest : public ::testing::Test {
 protected:
  struct Outcome {
    int code = -1;  ///< the exit code, or -1 where a signal ended the program
    std::string out, err;
  };

  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "halyard-cli-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }

  int open(const std::string& name, int flags) { return ::open((folder_ / name).c_str(), flags | O_CLOEXEC, 0600); }

  /// Starts the program on these descriptors.
  pid_t start(const Arguments& arguments, int in, int out, int err) {
    const std::string program = HALYARD_PROGRAM;
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(err, 2);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }

  int wait(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  Outcome run(const Arguments& arguments, const std::string& input = {}) {
    write("in", input);
    const int in = open("in", O_RDONLY), out = open("out", O_WRONLY | O_CREAT | O_TRUNC);
    const int err = open("err", O_WRONLY | O_CREAT | O_TRUNC);
    const int code = wait(start(arguments, in, out, err));
    for (const int fd : {in, out, err}) ::close(fd);
    return {code, read_text(folder_ / "out"), read_text(folder_ / "err")};
  }

  fs::path folder_;
};

std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

// ---- Usage

TEST_F(CliTest, HelpNamesEveryCommand) {
  const Outcome help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* command : {"tokenize", "render"}) {
    EXPECT_NE(help.out.find("\n  " + std::string(command) + " "), std::string::npos) << command;
    const Outcome page = run({command, "--help"});
    EXPECT_EQ(page.code, 0);
    EXPECT_NE(page.out.find("Usage: halyard " + std::string(command)), std::string::npos) << page.out;
    EXPECT_NE(page.out.find("Examples:\n  "), std::string::npos) << page.out;
  }
}

TEST_F(CliTest, VersionIsOneLine) {
  const Outcome version = run({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("halyard 0.")) << version.out;
  EXPECT_EQ(lines_of(version.out), 1U);
}

TEST_F(CliTest, WrongUsageIsExitCodeTwoWithOneLineAndAHint) {
  const std::vector<std::pair<Arguments, std::string>> wrong = {
      {{}, "subcommand"},
      {{"sail"}, "unknown command 'sail'"},
      {{"--fast"}, "unknown option '--fast'"},
      {{"tokenize", "--fast"}, "--fast"},
      {{"tokenize", "text"}, "text"},
      {{"tokenize", "--model"}, "--model"},
      {{"tokenize", "--model", "a", "--model", "b"}, "--model"},
      {{"tokenize", "--skip-special-tokens"}, "--decode"},
      {{"tokenize", "--decode", "--no-special-tokens"}, "--decode"},
      {{"render"}, "--input"},
      {{"render", "--input", "x", "--model", "m", "--template", "t"}, "--model"},
      {{"tokenize", "--a\nb"}, "--a\\x0ab"},
  };
  for (const auto& [arguments, message] : wrong) {
    const Outcome outcome = run(arguments);
    SCOPED_TRACE(message + ": " + outcome.err);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.starts_with("error: "));
    EXPECT_EQ(lines_of(outcome.err), 2U);
    EXPECT_NE(outcome.err.find(message), std::string::npos);
    EXPECT_NE(outcome.err.find("--help'"), std::string::npos);
  }
}

// ---- How it ends

TEST_F(CliTest, AFailureIsOneLineAndExitCodeOne) {
  const Outcome outcome = run({"tokenize", "--model", (folder_ / "no\nsuch").string()});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("error: "));
  EXPECT_EQ(lines_of(outcome.err), 1U) << outcome.err;
}

TEST_F(CliTest, AReaderThatWentAwayEndsTheProgramQuietly) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  ::close(pipe[0]);
  write("in", "");
  const int in = open("in", O_RDONLY), err = open("err", O_WRONLY | O_CREAT);
  EXPECT_EQ(wait(start({"--help"}, in, pipe[1], err)), 0);
  EXPECT_EQ(read_text(folder_ / "err"), "");
  for (const int fd : {in, err, pipe[1]}) ::close(fd);
}

TEST_F(CliTest, AFullDiskIsAFailure) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) GTEST_SKIP() << "no /dev/full";
  write("in", "");
  const int in = open("in", O_RDONLY), err = open("err", O_WRONLY | O_CREAT);
  EXPECT_EQ(wait(start({"--help"}, in, full, err)), 1);
  EXPECT_EQ(lines_of(read_text(folder_ / "err")), 1U);
  for (const int fd : {in, err, full}) ::close(fd);
}

TEST_F(CliTest, CtrlCEndsWithExitCode130) {
  const std::string tokenizer = testing::golden("text/tokenizers/qwen2/tokenizer.json");
  if (tokenizer.empty()) GTEST_SKIP() << "no golden text/tokenizers/qwen2";
  int input[2], output[2];
  ASSERT_EQ(::pipe2(input, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(output, O_CLOEXEC), 0);
  const int err = open("err", O_WRONLY | O_CREAT);
  const pid_t child = start({"tokenize", "--model", tokenizer, "--json-lines"}, input[0], output[1], err);
  ASSERT_EQ(::write(input[1], "\"\"\n", 3), 3);
  char answer[3];
  ASSERT_EQ(::read(output[0], answer, sizeof answer), 3) << "a line is answered while the input stays open";
  ::kill(child, SIGINT);  // it waits for the next line, or is about to
  EXPECT_EQ(wait(child), 130);
  EXPECT_EQ(read_text(folder_ / "err"), "");
  for (const int fd : {input[0], input[1], output[0], output[1], err}) ::close(fd);
}

// Both signals come before the program can look at its flag: the first asks it to stop, the second ends it here and now.
TEST_F(CliTest, ASecondSignalEndsItAtOnce) {
  int input[2];
  ASSERT_EQ(::pipe2(input, O_CLOEXEC), 0);
  write("in", "");
  const int out = open("out", O_WRONLY | O_CREAT);
  const std::string tokenizer = (testing::default_model() / "tokenizer.json").string();
  if (!fs::exists(tokenizer)) GTEST_SKIP() << "no " << tokenizer;
  const pid_t child = start({"tokenize", "--model", tokenizer, "--json-lines"}, input[0], out, out);
  ASSERT_EQ(::write(input[1], "\"\"\n", 3), 3);
  for (struct stat st{}; st.st_size == 0 && ::kill(child, 0) == 0; ::usleep(1000)) ASSERT_EQ(::fstat(out, &st), 0);
  int status = 0;
  ::kill(child, SIGSTOP);
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  for (const int signal : {SIGINT, SIGTERM, SIGCONT}) ::kill(child, signal);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  EXPECT_TRUE(WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM) << WTERMSIG(status);
  EXPECT_EQ(read_text(folder_ / "out"), "[]\n");
  for (const int fd : {input[0], input[1], out}) ::close(fd);
}

// ---- tokenize

/// The golden cases of one tokenizer, empty where there are none.
std::vector<Json> tokenizer_cases(const std::string& kind) {
  std::vector<Json> cases;
  std::istringstream lines(read_text(testing::golden("text/tokenizers/" + kind + "/cases.jsonl")));
  for (std::string line; std::getline(lines, line);) cases.push_back(testing::json_of(line));
  return cases;
}

std::vector<Json> parse_lines(const std::string& text) {
  std::vector<Json> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) values.push_back(testing::json_of(line));
  return values;
}

TEST_F(CliTest, TokenizeAnswersEveryLineAsTheTokenizersLibraryDoes) {
  const std::vector<Json> cases = tokenizer_cases("qwen2");
  if (cases.empty()) GTEST_SKIP() << "no golden text/tokenizers/qwen2";
  const std::string model = testing::golden("text/tokenizers/qwen2");
  std::string texts, ids;
  for (const Json& c : cases) {
    texts += c["text"].dump() + "\n";
    ids += c["ids"].dump() + "\n";
  }
  const auto check = [&](const Arguments& flags, const std::string& input, auto want) {
    Arguments arguments{"tokenize", "--model", model, "--json-lines"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Outcome outcome = run(arguments, input);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const std::vector<Json> got = parse_lines(outcome.out);
    ASSERT_EQ(got.size(), cases.size());
    for (std::size_t i = 0; i < cases.size(); ++i)
      EXPECT_EQ(got[i], want(cases[i])) << "case " << i << ": " << cases[i].dump();
  };
  check({"--no-special-tokens"}, texts, [](const Json& c) { return c["ids"]; });
  check({}, texts, [](const Json& c) { return c["ids_special"].is_null() ? c["ids"] : c["ids_special"]; });
  check({"--decode"}, ids, [](const Json& c) { return c["decoded"]; });
  check({"--decode", "--skip-special-tokens"}, ids, [](const Json& c) { return c["decoded_skip_special"]; });
}

TEST_F(CliTest, TokenizeTakesAllOfItsInputAsOneText) {
  const std::vector<Json> cases = tokenizer_cases("qwen2");
  if (cases.empty()) GTEST_SKIP() << "no golden text/tokenizers/qwen2";
  const std::string file = testing::golden("text/tokenizers/qwen2/tokenizer.json");
  const std::string text = "Two\nlines, \xc3\xa9\n";
  const Outcome ids = run({"tokenize", "--model", file}, text);
  ASSERT_EQ(ids.code, 0) << ids.err;
  EXPECT_TRUE(ids.out.starts_with("[") && ids.out.ends_with("]\n")) << ids.out;
  EXPECT_EQ(run({"tokenize", "--model", file, "--decode"}, ids.out).out, text) << "byte for byte, nothing added";
}

TEST_F(CliTest, WithoutAModelTheOneThatShipsIsTaken) {
  const fs::path model = testing::default_model();
  if (!fs::exists(model / "tokenizer.json")) GTEST_SKIP() << "no models/gutenberg-29m-4bit";
  const Outcome named = run({"tokenize", "--model", model.string()}, "Call me Ishmael.");
  EXPECT_EQ(named.code, 0) << named.err;
  EXPECT_EQ(run({"tokenize"}, "Call me Ishmael.").out, named.out);
}

TEST_F(CliTest, TokenizeSaysWhichLineIsWrong) {
  const std::string file = testing::golden("text/tokenizers/qwen2/tokenizer.json");
  if (file.empty()) GTEST_SKIP() << "no golden text/tokenizers/qwen2";
  const std::vector<std::pair<Arguments, std::string>> wrong = {{{}, "\"a\"\n[1]\n"},
                                                                {{}, "\"a\"\nb\n"},
                                                                {{}, "\"a\"\n\n"},
                                                                {{"--decode"}, "[1]\n\"a\"\n"},
                                                                {{"--decode"}, "[1]\n[-1]\n"},
                                                                {{"--decode"}, "[]\n[2147483648]\n"},
                                                                {{"--decode"}, "[]\n[1.5]"}};
  for (const auto& [flags, input] : wrong) {
    Arguments arguments{"tokenize", "--model", file, "--json-lines"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Outcome outcome = run(arguments, input);
    EXPECT_EQ(outcome.code, 1) << input;
    EXPECT_EQ(lines_of(outcome.out), 1U) << "what came before is answered: " << input;
    EXPECT_TRUE(outcome.err.starts_with("error: line 2: ")) << outcome.err;
  }
}

// ---- render

TEST_F(CliTest, RenderWritesWhatTransformersWrites) {
  const std::string path = testing::golden("text/templates/cases.json");
  if (path.empty()) GTEST_SKIP() << "no golden text/templates";
  for (const Json& c : testing::json_of(read_text(path))) {
    const std::string name = c["template"].get<std::string>();
    SCOPED_TRACE(name + ", " + c["conversation"].get<std::string>() + ", " + c["kwargs"].dump());
    Json given = c;
    for (const char* key : {"template", "conversation", "rendered", "error"})
      given.erase(key);  // of the case, not the input
    const std::string input = write("input.json", given.dump());
    const Outcome outcome =
        run({"render", "--template", testing::golden("text/templates/" + name + ".jinja"), "--input", input});
    if (c.contains("rendered")) {
      EXPECT_EQ(outcome.code, 0) << outcome.err;
      EXPECT_EQ(outcome.out, c["rendered"].get<std::string>());
    } else {
      EXPECT_EQ(outcome.code, 1);
      EXPECT_EQ(outcome.out, "");
      EXPECT_EQ(lines_of(outcome.err), 1U) << outcome.err;
    }
  }
}

TEST_F(CliTest, RenderFindsAModelsTemplateAndItsTokens) {
  const std::string source = "{{ bos_token }}|{{ eos_token }}|{{ messages[0].content }}";
  const auto config = [&](const Json& chat) {
    return Json::object({{"chat_template", chat},
                         {"bos_token", Json::object({{"content", "<s>"}, {"lstrip", false}})},
                         {"eos_token", "</s>"},
                         {"add_bos_token", true},
                         {"pad_token", nullptr}})
        .dump();
  };
  const Json list = Json::array({Json::object({{"name", "tool_use"}, {"template", "tools " + source}}),
                                 Json::object({{"name", "default"}, {"template", source}})});
  write("string/tokenizer_config.json", config(source));
  write("list/tokenizer_config.json", config(list));
  write("file/tokenizer_config.json", config("not this"));
  write("file/chat_template.jinja", source);
  write("none/tokenizer_config.json", config(nullptr));
  write("wrong/tokenizer_config.json", config(5));
  const std::string messages = R"("messages": [{"role": "user", "content": "Hi"}])";
  const auto render = [&](const std::string& model, const std::string& more = "") {
    return run({"render", "--model", (folder_ / model).string(), "--input", "-"}, "{" + messages + more + "}");
  };
  for (const char* model : {"string", "list", "file"}) EXPECT_EQ(render(model).out, "<s>|</s>|Hi") << model;
  EXPECT_EQ(render("string", R"(, "bos_token": "B")").out, "B|</s>|Hi") << "the input's own tokens come first";
  EXPECT_EQ(render("list", R"(, "tools": [{"type": "function"}])").out, "tools <s>|</s>|Hi");
  EXPECT_EQ(render("none").code, 1);
  EXPECT_NE(render("none").err.find("no chat template"), std::string::npos);
  EXPECT_NE(render("wrong").err.find("chat_template"), std::string::npos);
  EXPECT_NE(render("absent").err.find("absent"), std::string::npos);
}

TEST_F(CliTest, RenderRefusesWhatIsNoConversation) {
  const std::string chat = write("t.jinja", "{{ messages }}");
  for (const char* input : {"", "[]", "5", "{\"messages\": 5}", "{\"a\": 1, \"a\": 2}", "{"}) {
    const Outcome outcome = run({"render", "--template", chat, "--input", write("input.json", input)});
    EXPECT_EQ(outcome.code, 1) << input;
    EXPECT_EQ(lines_of(outcome.err), 1U) << outcome.err;
  }
  const Outcome unknown =
      run({"render", "--template", chat, "--input", "-"}, R"({"messages": [{"role": "user"}], "promt": 1})");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_NE(unknown.err.find("unknown key \"promt\""), std::string::npos) << unknown.err;
  EXPECT_EQ(run({"render", "--template", (folder_ / "absent").string(), "--input", "-"}, "{}").code, 1);
}

TEST_F(CliTest, RenderTakesWhatApplyChatTemplateTakesAtTheTop) {
  const std::string chat =
      write("t.jinja", "{{ add_generation_prompt }} {{ enable_thinking }} {{ tools }} {{ documents }}");
  const std::string input = R"({"messages": [{"role": "user"}], "add_generation_prompt": true, "enable_thinking": false,
                                "tools": [{"name": "f"}], "documents": [{"text": "d"}]})";
  EXPECT_EQ(run({"render", "--template", chat, "--input", "-"}, input).out,
            "True False [{'name': 'f'}] [{'text': 'd'}]");
}

// ---- generate

class GenerateTest : public CliTest {
 protected:
  void SetUp() override {
    if (!fs::exists(testing::default_model() / "config.json")) GTEST_SKIP() << "no models/gutenberg-29m-4bit";
    CliTest::SetUp();
  }

  Outcome generate(Arguments more, const std::string& input = {}) {
    Arguments arguments{"generate", "--temp", "0", "--json", "--ignore-chat-template"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments, input);
  }
  Json answer(const Arguments& more, const std::string& input = {}) {
    const Outcome outcome = generate(more, input);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.code == 0 ? testing::json_of(outcome.out) : Json::object();
  }
};

// mlx-lm 0.32.2: args.prompt.replace("\\n", "\n").replace("\\t", "\t"), then "-" is sys.stdin.read().
TEST_F(GenerateTest, PromptsHaveNewlinesAndTabsAsMlxLmHasThem) {
  EXPECT_EQ(answer({"-m", "1", "-p", R"(a\nb\tc\\nd\r)"})["prompt"], "a\nb\tc\\\nd\\r");
  EXPECT_EQ(answer({"-m", "1", "-p", "-"}, "a\r\nb\rc\\nd\n")["prompt"], "a\nb\nc\\nd\n");
}

TEST_F(GenerateTest, ExtraEosTokensAreTextsOrIds) {
  const Json whole = answer({"-m", "12", "-p", "The old house"});
  ASSERT_EQ(whole["finish_reason"], "length");
  const Outcome ids = run({"tokenize"}, whole["text"].get<std::string>());
  const Json tokens = testing::json_of(ids.out);
  const std::string third = std::to_string(tokens[2].get<int>());
  const Json stopped = answer({"-m", "12", "-p", "The old house", "--extra-eos-token", third});
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_LE(stopped["generation_tokens"].get<int>(), 3);
  for (const Arguments& harmless : {Arguments{"--extra-eos-token", "99999999"},
                                    {"--extra-eos-token", "-1"},
                                    {"--extra-eos-token", "99999999999999999999"}}) {
    Arguments more{"-m", "3", "-p", "The old house"};
    more.insert(more.end(), harmless.begin(), harmless.end());
    EXPECT_EQ(answer(more)["generation_tokens"], 3) << harmless[1];
  }
}

TEST_F(GenerateTest, AnExtraEosTokenIsOneTextWhateverIsInIt) {
  for (const char* token : {"[a,b]", "[x]", "{}", "%%", "no, such token", "<|none|>", ""}) {
    const Outcome outcome = generate({"-m", "1", "--extra-eos-token", token, "-p", "x"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find("no token \"" + std::string(token) + "\""), std::string::npos)
        << token << ": " << outcome.err;
  }
  const Outcome several = generate({"-m", "1", "--extra-eos-token", "1", "--extra-eos-token", "[q]", "-p", "x"});
  EXPECT_NE(several.err.find("no token \"[q]\""), std::string::npos) << several.err;
  // mlx-lm's nargs="+": as many as come, up to the next flag.
  for (const Arguments& flag :
       {Arguments{"-p", "x"}, {"--prompt", "x"}, {"--top-k", "0"}, {"--verbose", "false"}, {}}) {
    Arguments more{"-m", "1", "--extra-eos-token", "1", "-2", "[r]", "[q]", "3"};
    more.insert(more.end(), flag.begin(), flag.end());
    const Outcome each = generate(more);
    EXPECT_EQ(each.code, 1) << each.err;
    EXPECT_NE(each.err.find("no token \"[r]\""), std::string::npos) << each.err;
  }
  EXPECT_EQ(answer({"-m", "1", "--extra-eos-token", "1", "2", "-p", "The prompt"})["prompt"], "The prompt");
  const Outcome typo = generate({"-p", "x", "--extra-eos-token", "1", "--tmep", "0"});
  EXPECT_EQ(typo.code, 2);
  EXPECT_NE(typo.err.find("--tmep"), std::string::npos) << typo.err;
  const Outcome eaten = generate({"--extra-eos-token", "--temp", "0"});
  EXPECT_EQ(eaten.code, 2);
  EXPECT_NE(eaten.err.find("got the flag --temp"), std::string::npos) << eaten.err;
}

TEST_F(GenerateTest, LimitsAreNamedAndAWindowMayHaveAnySize) {
  const Outcome tokens = run({"logits", "--tokens", "99999999999", "-o", (folder_ / "l").string()});
  EXPECT_NE(tokens.err.find("expected a whole number from 0 to 2147483647, got '99999999999'"), std::string::npos)
      << tokens.err;
  EXPECT_NE(generate({"-m", "2147483648"}).err.find("from -1 to 2147483647"), std::string::npos);
  EXPECT_NE(generate({"--max-kv-size", "99999999999999999999"}).err.find("from 0 to 9223372036854775807"),
            std::string::npos);
  const Json plain = answer({"-m", "4", "-p", "The old house"});
  for (const char* size : {"2147483648", "4294967296", "9223372036854775807"})
    EXPECT_EQ(answer({"-m", "4", "-p", "The old house", "--max-kv-size", size})["text"], plain["text"]) << size;
}

TEST_F(GenerateTest, AnEosIdOutsideTheVocabularyIsNoErrorWithXtc) {
  EXPECT_EQ(run({"generate", "-m", "2", "-p", "x", "--temp", "1", "--xtc-probability", "0.5", "--extra-eos-token",
                 "99999999"})
                .code,
            0);
}

TEST_F(GenerateTest, AdviceNamesOnlyFlagsOfTheCommand) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "the house ";
  EXPECT_NE(generate({"-p", "-"}, text).err.find("--max-kv-size"), std::string::npos);
  const Outcome logits = run({"logits", "-p", "-", "-o", (folder_ / "l").string()}, text);
  EXPECT_NE(logits.err.find("tokens long"), std::string::npos) << logits.err;
  EXPECT_EQ(logits.err.find("--max-kv-size"), std::string::npos) << logits.err;
}

TEST_F(GenerateTest, ADumbTerminalGetsNoEscapeCodes) {
  const char* before = std::getenv("TERM");
  const std::string old = before ? before : "";
  for (const char* term : {"xterm", "dumb"}) {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
    ASSERT_TRUE(master >= 0 && ::grantpt(master) == 0 && ::unlockpt(master) == 0);
    const int terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
    const int in = ::open("/dev/null", O_RDONLY), out = open("out", O_WRONLY | O_CREAT | O_TRUNC);
    ::setenv("TERM", term, 1);
    EXPECT_EQ(wait(start({"generate", "-m", "1", "-p", "x"}, in, out, terminal)), 0);
    std::string seen(1 << 16, '\0');
    const ssize_t n = ::read(master, seen.data(), seen.size());
    seen.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    for (const int fd : {master, terminal, in, out}) ::close(fd);
    EXPECT_NE(seen.find("Prompt: "), std::string::npos) << seen;
    EXPECT_EQ(seen.find('\x1b') != std::string::npos, term == std::string("xterm")) << seen;
  }
  before ? ::setenv("TERM", old.c_str(), 1) : ::unsetenv("TERM");
}

TEST_F(GenerateTest, ThreadsSayTheirLimit) {
  const Outcome many = generate({"-t", "1025"});
  EXPECT_EQ(many.code, 2);
  EXPECT_NE(many.err.find("from 0 to 1024"), std::string::npos) << many.err;
}

}  // namespace
}  // namespace halyard
