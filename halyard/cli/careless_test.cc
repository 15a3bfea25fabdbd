// The program under a careless or unlucky user: outputs that cannot be written, streams that are closed or full, values that
// mean nothing.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/file.h"
#include "halyard/io/safetensors.h"
#include "halyard/testing/paths.h"

namespace halyard {
namespace {

namespace fs = std::filesystem;

class Careless : public ::testing::Test {
 protected:
  struct Outcome {
    int code = -1;  // as bash says it: 128 and the signal where one ended the program
    std::string out, err;
  };

  void SetUp() override {
    if (!fs::exists(testing::default_model() / "config.json")) GTEST_SKIP() << "no models/gutenberg-29m-4bit";
    std::string name = (fs::temp_directory_path() / "halyard-careless-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directory(folder_ / "work");
    for (const auto& file : fs::directory_iterator(testing::default_model()))
      fs::create_directories(folder_ / "m"), fs::copy(file, folder_ / "m");
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  // Runs a shell command in work/, "$H" being the program and ../m a model of its own.
  Outcome sh(const std::string& command) {
    const std::string out = (folder_ / "out").string(), err = (folder_ / "err").string();
    std::ofstream(folder_ / "run.sh") << fmt::format("cd '{}'\nH='{}'\nexec >'{}' 2>'{}' </dev/null\n{}\n", work(),
                                                     HALYARD_PROGRAM, out, err, command);
    const int status = std::system(fmt::format("bash '{}'", (folder_ / "run.sh").string()).c_str());
    return {WEXITSTATUS(status), read_file(out).value(), read_file(err).value()};
  }
  std::string work() const { return (folder_ / "work").string(); }
  bool work_is_empty() const { return fs::is_empty(folder_ / "work"); }
  void expect_error(const std::string& command, int code, const std::string& mention) {
    const Outcome o = sh(command);
    EXPECT_EQ(o.code, code) << command << "\n" << o.err;
    EXPECT_NE(o.err.find(mention), std::string::npos) << command << "\n" << o.err;
    EXPECT_EQ(o.out, "") << command;
  }

  fs::path folder_;
};

TEST_F(Careless, AnOutputNeverReplacesTheModelThatIsRead) {
  const std::string before = read_file((folder_ / "m/model.safetensors").string()).value();
  fs::create_hard_link(folder_ / "m/model.safetensors", folder_ / "hard");
  fs::create_symlink("m/model.safetensors", folder_ / "soft");
  for (const char* path :
       {"../m/model.safetensors", "../m/../m/config.json", "../hard", "../soft", "../m/tokenizer.json"}) {
    expect_error(fmt::format("\"$H\" logits --model ../m --tokens 1 -o {}", path), 1,
                 fmt::format("{}: is in use as input", path));
    expect_error(fmt::format("\"$H\" bench --model ../m -p 1 -n 0 -r 1 --plot {}", path), 1, "is in use as input");
    expect_error(fmt::format("\"$H\" bench --model ../m -p 1 -n 0 -r 1 --profile --trace {}", path), 1,
                 "is in use as input");
  }
  expect_error("echo text > f; \"$H\" logits --model ../m -p - -o f < f", 1, "f: is in use as input");
  EXPECT_EQ(read_file((folder_ / "m/model.safetensors").string()).value(), before);
  EXPECT_EQ(read_file((folder_ / "work/f").string()).value(), "text\n");
}

TEST_F(Careless, AnOutputThatCannotBeWrittenIsFoundBeforeTheWork) {
  for (const char* path : {"none/out", "/proc/out", ".", "link", "folder/"}) {
    fs::remove(folder_ / "work/link");
    fs::create_symlink("nothing", folder_ / "work/link");
    // Of a model that is not there either, the output is what is spoken of: it was looked at first.
    expect_error(fmt::format("\"$H\" logits --model ../absent --tokens 1 -o {}", path), 1,
                 fmt::format("error: {}: ", path));
  }
}

TEST_F(Careless, AFolderThatTakesNoFilesIsSaidToBeOne) {
  for (const char* path : {"/proc/version", "/proc/out"}) {
    expect_error(fmt::format("\"$H\" logits --model ../m --tokens 1 -o {}", path), 1,
                 fmt::format("{}: no file can be made in the folder /proc", path));
  }
  expect_error("\"$H\" logits --model ../m --tokens 1 -o none/out", 1, "none/out: No such file or directory");
}

TEST_F(Careless, OutputsOfAnyNameAreWrittenAndNothingElseStays) {
  const std::string longest(255, 'x');
  const Outcome o = sh(fmt::format("\"$H\" logits --model ../m --tokens 1,2,3 -o {}", longest));
  EXPECT_EQ(o.code, 0) << o.err;
  const auto read = SafeTensors::open(work() + "/" + longest);
  ASSERT_TRUE(read) << read.error().str();
  EXPECT_EQ(read->find("tokens")->shape, (Shape{3}));
  EXPECT_EQ(std::distance(fs::directory_iterator(work()), {}), 1);
  fs::create_symlink(longest, folder_ / "work/link");
  ASSERT_EQ(::chmod((work() + "/" + longest).c_str(), 0640), 0);
  EXPECT_EQ(sh("\"$H\" logits --model ../m --tokens 1 -o link").code, 0);
  EXPECT_TRUE(
      fs::is_symlink(folder_ / "work/link"));  // what it leads to was replaced, and may be read by the same people
  EXPECT_EQ(static_cast<int>(fs::status(work() + "/" + longest).permissions()), 0640);
  EXPECT_EQ(SafeTensors::open(work() + "/" + longest)->find("tokens")->shape, (Shape{1}));
}

TEST_F(Careless, TextsReadTogetherHaveTheLogitsTheyHaveAloneAndNeedNoTokenizer) {
  fs::copy(folder_ / "m", folder_ / "bare", fs::copy_options::recursive);
  fs::remove(folder_ / "bare/tokenizer.json");
  const auto tensor = [&](const char* file, const char* name) {
    const auto read = SafeTensors::open(work() + "/" + file);
    EXPECT_TRUE(read && read->find(name)) << file << " " << name;
    if (!read || !read->find(name)) return std::string();
    const auto data = read->find(name)->data;
    return std::string(reinterpret_cast<const char*>(data.data()), data.size());
  };
  EXPECT_EQ(sh("printf '[1,2,3]\\n[4]\\n[5,6,7,8,9,10,11]\\n' > ids; "
               "\"$H\" logits --model ../bare --tokens-lines ids --chunk 4 -o together")
                .code,
            0);
  int i = 0;
  for (const char* ids : {"1,2,3", "4", "5,6,7,8,9,10,11"}) {
    EXPECT_EQ(sh(fmt::format("\"$H\" logits --model ../bare --tokens {} -o alone", ids)).code, 0);
    EXPECT_EQ(tensor("together", fmt::format("logits_{}", i).c_str()), tensor("alone", "logits")) << ids;
    EXPECT_EQ(tensor("together", fmt::format("tokens_{}", i++).c_str()), tensor("alone", "tokens")) << ids;
  }
  expect_error("\"$H\" logits --model ../bare -p text -o out", 1, "the model has no tokenizer.json");
  for (const auto& [lines, why] :
       {std::pair{"[1]\\n[1,\"a\"]", "ids line 2: expected an array of token ids, got \"a\""},
        {"[1]\\n[]", "ids line 2: there are no tokens to read"},
        {"", "ids: there are no lines"},
        {"[1]\\n[2,", "ids line 2: not valid JSON"},
        {"[9999999]", "token id 9999999"}})
    expect_error(fmt::format("printf '{}' > ids; \"$H\" logits --model ../m --tokens-lines ids -o out", lines), 1, why);
}

TEST_F(Careless, NothingIsLeftAfterASignalOrAFailure) {
  for (const auto& [signal, code] : {std::pair{"INT", 130}, {"TERM", 143}, {"KILL", 137}}) {
    const Outcome o =
        sh(fmt::format("\"$H\" logits --model ../m --exact --tokens $(seq -s, 1 2000) --chunk 1 -o out & c=$!\n"
                       "sleep 0.7; kill -{} $c; wait $c",
                       signal));
    EXPECT_EQ(o.code, code) << signal << o.err;
    EXPECT_TRUE(work_is_empty()) << signal;
  }
  expect_error("\"$H\" logits --model ../m --tokens 99999999 -o out", 1, "99999999");
  EXPECT_TRUE(work_is_empty());
}

TEST_F(Careless, MessagesThatCannotBeWrittenCostNoResults) {
  const Outcome plain = sh("\"$H\" generate --model ../m -p 'The old' -m 4 --temp 0");
  ASSERT_EQ(plain.code, 0) << plain.err;
  for (const char* to : {"2>/dev/full", "2>&-"}) {
    const Outcome o = sh(fmt::format("\"$H\" generate --model ../m -p 'The old' -m 4 --temp 0 {}", to));
    EXPECT_EQ(o.code, 0) << to;
    EXPECT_EQ(o.out, plain.out) << to;
    EXPECT_EQ(sh(fmt::format("\"$H\" generate --model ../absent -p x {}", to)).code, 1) << to;
    EXPECT_EQ(sh(fmt::format("\"$H\" generate --nonsense {}", to)).code, 2) << to;
  }
}

TEST_F(Careless, StandardOutputThatCannotBeWrittenIsAnError) {
  for (const char* to : {">/dev/full", ">&-"}) {
    for (const char* command :
         {"generate --model ../m -p x -m 2", "inspect ../m", "--help", "--version", "tokenize --model ../m"})
      expect_error(fmt::format("\"$H\" {} {}", command, to), 1, "cannot write to standard output");
  }
}

TEST_F(Careless, AClosedStandardInputIsNotTheFirstFileOpened) {
  expect_error("\"$H\" generate --model ../m -p - -m 2 <&-", 1, "cannot read standard input");
  expect_error("\"$H\" tokenize --model ../m <&-", 1, "cannot read standard input");
  const Outcome o = sh("\"$H\" generate --model ../m -p x -m 2 <&- 2>&-");
  EXPECT_EQ(o.code, 0);
  EXPECT_FALSE(o.out.empty());
}

TEST_F(Careless, ValuesMeanWhatTheySayOrAreErrors) {
  for (const char* tokens : {"010", "''", "1,", "1,,2", ",", "0x10", "-1", "1.0", "99999999999", "1,08"})
    expect_error(fmt::format("\"$H\" logits --model ../m --tokens {} -o out", tokens), 2, "--tokens");
  expect_error("\"$H\" logits --model ../m -p x --tokens '' -o out", 2, "--tokens");
  expect_error("\"$H\" generate --model ../m -p x -m 010", 2, "010");
  for (const char* lengths : {"010", "''", "1,,2"})
    expect_error(fmt::format("\"$H\" bench --model ../m -p {}", lengths), 2, "--n-prompt");
  for (const char* command : {"generate --model '' -p x", "generate --model= -p x", "inspect ''", "tokenize --model ''",
                              "render --model '' --input -", "logits --model ../m --tokens 1 -o ''", "bench --plot ''",
                              "bench --synthetic ''", "generate --device '' -p x", "perplexity --model ../m -f ''"})
    expect_error(fmt::format("\"$H\" {}", command), 2, "error: ");
  EXPECT_TRUE(work_is_empty());
}

TEST_F(Careless, IdsThatNoTokenHasAreErrors) {
  expect_error("echo '[1000, 99999999, 1001]' | \"$H\" tokenize --model ../m --decode", 1,
               "no token has the id 99999999");
  expect_error("echo '[99999999]' | \"$H\" tokenize --model ../m --decode --json-lines", 1,
               "line 1: no token has the id 99999999");
  expect_error("echo '[-1]' | \"$H\" tokenize --model ../m --decode", 1, "-1");
  expect_error("echo '[4294967296]' | \"$H\" tokenize --model ../m --decode", 1, "4294967296");
}

}  // namespace
}  // namespace halyard
