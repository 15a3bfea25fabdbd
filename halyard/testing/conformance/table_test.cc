// The conformance suite as a table: a row a behaviour, a column a device. HALYARD_CONFORMANCE_TABLE names the file to
// write it to, as Markdown.
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/environment.h"

namespace halyard::testing {
namespace {

// "StartsLiveWithoutAnEvent" is "starts live without an event".
std::string in_words(std::string_view name) {
  std::string words;
  for (const char c : name) {
    const bool upper = std::isupper(static_cast<unsigned char>(c));
    if (upper && !words.empty()) words += ' ';
    words += c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return words;
}

TEST(Table, PutsNamesInWords) {
  EXPECT_EQ(in_words("StartsLiveWithoutAnEvent"), "starts live without an event");
  EXPECT_EQ(in_words("cpu_2_threads"), "cpu 2 threads");
}

// A test of a device is called Every/Suite.Behaviour/device.
class Table final : public ::testing::EmptyTestEventListener {
 public:
  explicit Table(std::string path) : path_(std::move(path)) {}

 private:
  void OnTestEnd(const ::testing::TestInfo& test) override {
    const std::string_view suite = test.test_suite_name(), name = test.name();
    const auto slash = name.rfind('/');
    if (!suite.starts_with("Every/") || slash == name.npos) return;
    const std::string row = in_words(suite.substr(6)) + ": " + in_words(name.substr(0, slash));
    const std::string device = in_words(name.substr(slash + 1));
    if (results_[row].empty()) rows_.push_back(row);
    if (std::find(devices_.begin(), devices_.end(), device) == devices_.end()) devices_.push_back(device);
    const ::testing::TestResult& result = *test.result();
    results_[row][device] = result.Skipped()  ? "–"
                            : result.Passed() ? "✓"
                                              : "✗";  // –: a device that has no such test, too
  }

  void OnTestProgramEnd(const ::testing::UnitTest&) override {
    std::ofstream file(path_);
    std::string line = "| behaviour |", rule = "| --- |";
    for (const std::string& d : devices_) line += fmt::format(" {} |", d), rule += " :-: |";
    file << line << '\n' << rule << '\n';
    for (const std::string& row : rows_) {
      file << fmt::format("| {} |", row);
      for (const std::string& d : devices_)
        file << fmt::format(" {} |", results_[row].try_emplace(d, "–").first->second);
      file << '\n';
    }
  }

  std::string path_;
  std::vector<std::string> rows_, devices_;                            // in the order in which they came
  std::map<std::string, std::map<std::string, std::string>> results_;  // by row, then device
};

[[maybe_unused]] const bool asked = [] {
  const auto path = environment("HALYARD_CONFORMANCE_TABLE");
  if (path) ::testing::UnitTest::GetInstance()->listeners().Append(new Table(*path));
  return path.has_value();
}();

}  // namespace
}  // namespace halyard::testing
