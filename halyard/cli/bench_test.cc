// What halyard bench tells of where the time went and what the device did.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/testing/paths.h"

namespace halyard {
namespace {

namespace fs = std::filesystem;

class BenchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(testing::default_model())) GTEST_SKIP() << "the default model is not here";
    std::string name = (fs::temp_directory_path() / "halyard-bench-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::string text(const char* name) const {
    const auto t = read_file(path(name));
    EXPECT_TRUE(t) << name;
    return t ? std::string(*t) : std::string();
  }
  /// Runs two tests, a prompt of 24 tokens and 6 tokens written, twice each; what it printed is in "out" and "err".
  void bench(const std::string& flags, const std::string& before = {}) {
    const std::string command = before + "'" + HALYARD_PROGRAM + "' bench --model '" +
                                testing::default_model().string() + "' -p 24 -n 6 -r 2 " + flags + " > '" +
                                path("out") + "' 2> '" + path("err") + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << text("err");
  }
  Json json(const char* name) {
    auto parsed = parse_json(text(name));
    EXPECT_TRUE(parsed) << text(name);
    return parsed ? std::move(*parsed) : Json();
  }

  fs::path folder_;
};

std::vector<std::string> cells(const std::string& row) {
  std::vector<std::string> all;
  std::istringstream in(row);
  for (std::string cell; std::getline(in, cell, '|');) {
    const std::size_t begin = cell.find_first_not_of(' '), end = cell.find_last_not_of(' ');
    if (begin != cell.npos) all.push_back(cell.substr(begin, end + 1 - begin));
  }
  return all;
}

TEST_F(BenchTest, TablesNameTheKernelsAndSumToTheTotal) {
  bench("--profile");
  std::map<std::string, std::map<std::string, std::vector<std::string>>> tables;  // by test, then kernel
  std::istringstream lines(text("out"));
  std::string test;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) test.clear();
    const std::vector<std::string> row = cells(line);
    if (row.empty() || row[0] == "---") continue;
    if (row[0].starts_with("kernel in ")) test = row[0].substr(10);
    else if (!test.empty()) tables[test][row[0]] = row;
  }
  ASSERT_EQ(tables.size(), 2U) << text("out");
  for (const char* name : {"pp24", "tg6"}) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(tables.contains(name));
    auto& table = tables[name];
    for (const char* kernel : {"embedding_panels", "rope_angles"}) EXPECT_TRUE(table.contains(kernel)) << kernel;
    double sum = 0, shares = 0;
    for (const auto& [kernel, row] : table) {
      if (kernel == "all") continue;
      ASSERT_EQ(row.size(), 5U);
      sum += std::stod(row[2]);
      shares += std::stod(row[3]);
    }
    ASSERT_TRUE(table.contains("all"));
    EXPECT_GT(sum, 0);
    EXPECT_NEAR(sum, std::stod(table["all"].at(1)), 0.005 * static_cast<double>(table.size()));
    EXPECT_NEAR(shares, 100, 0.05 * static_cast<double>(table.size()));
  }
  // Two repetitions of a prompt in one chunk, and of six tokens.
  EXPECT_EQ(tables["pp24"]["embedding_panels"].at(1), "2");
  EXPECT_EQ(tables["tg6"]["embedding_panels"].at(1), "12");
}

TEST_F(BenchTest, TheTraceCoversEveryTest) {
  bench("--profile --json --trace '" + path("trace") + "'");
  const Json trace = json("trace"), results = json("out");
  std::map<std::string, std::uint64_t> kernels, labels;
  std::map<std::string, double> label_us;
  std::set<int> threads, named;
  for (const Json& e : trace["traceEvents"]) {
    const int tid = e["tid"].get<int>();
    const auto name = e["name"].get<std::string>();
    if (e["ph"] == "M") {
      EXPECT_EQ(name, "thread_name");
      named.insert(tid);
      continue;
    }
    ASSERT_EQ(e["ph"], "X");
    EXPECT_EQ(e["pid"], 1);
    EXPECT_GE(e["ts"].get<double>(), 0);
    EXPECT_GE(e["dur"].get<double>(), 0);
    threads.insert(tid);
    if (tid == 0) label_us[name] += e["dur"].get<double>();
    ++(tid == 0 ? labels : kernels)[name];
  }
  EXPECT_TRUE(threads.contains(0));
  EXPECT_GE(threads.size(), 2U);
  for (const int tid : threads) EXPECT_TRUE(named.contains(tid)) << tid;
  EXPECT_GE(kernels["embedding_panels"], 3U + 3 * 6);  // each test three times, the first to warm up

  const Json& totals = trace["otherData"]["labels"];
  EXPECT_EQ(totals.size(), labels.size());
  for (const auto& [label, n] : labels) {
    ASSERT_TRUE(totals.contains(label)) << label;
    EXPECT_EQ(totals[label]["calls"], n) << label;
    EXPECT_NEAR(totals[label]["us"].get<double>(), label_us[label], 0.001 * static_cast<double>(n)) << label;
  }
  EXPECT_EQ(trace["otherData"]["spans_left_out"], 0);

  ASSERT_EQ(results.size(), 2U);
  for (const Json& r : results) {
    double kernel_ms = 0, stage_ms = 0, share = 0;
    for (const Json& row : r["profile"])
      kernel_ms += row["thread_ms"].get<double>(), share += row["share"].get<double>();
    for (const Json& row : r["stages"]) stage_ms += row["thread_ms"].get<double>();
    EXPECT_GT(kernel_ms, 0);
    EXPECT_NEAR(kernel_ms, stage_ms, 1e-6 * kernel_ms);
    EXPECT_NEAR(share, 1, 1e-6);
  }
}

TEST_F(BenchTest, JsonHoldsTheDevicesCountersOfTheTimedRepetitions) {
  bench("--json");
  const Json results = json("out");
  ASSERT_EQ(results.size(), 2U);
  const Json &prompt = results[0]["stats"], &written = results[1]["stats"];
  EXPECT_EQ(written["syncs"], 12);  // a token each
  EXPECT_EQ(written["command_buffers"], 12);
  EXPECT_EQ(prompt["syncs"], 2);
  for (const Json& s : {prompt, written}) {
    EXPECT_GT(s["dispatches"].get<int>(), 0);
    EXPECT_EQ(s["auto_barriers"].get<int>() + s["concurrent_dispatches"].get<int>(), s["dispatches"].get<int>());
    EXPECT_GE(s["peak_bytes"].get<std::uint64_t>(), s["bytes_allocated"].get<std::uint64_t>());
    EXPECT_EQ(s["kernels_compiled"], 0);
  }
  EXPECT_FALSE(results[0].contains("profile"));
  EXPECT_GT(results[0]["residency"]["bytes"].get<std::uint64_t>(), 1'000'000U);
  EXPECT_GT(results[0]["residency"]["count"].get<int>(), 10);
}

TEST_F(BenchTest, CountsTheTokensOfAllSequencesAtOnce) {
  bench("--json -np 1,3 -d 0,70");
  const Json results = json("out");
  ASSERT_EQ(results.size(), 8U);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Json& r = results[i];
    const int parallel = i < 4 ? 1 : 3, tokens = parallel * (i % 2 ? 6 : 24);
    EXPECT_EQ(r["n_parallel"], parallel);
    EXPECT_EQ(r["n_depth"], i / 2 % 2 ? 70 : 0);
    ASSERT_EQ(r["samples_ts"].size(), 2U);
    for (std::size_t s = 0; s < 2; ++s)
      EXPECT_NEAR(r["samples_ts"][s].get<double>() * r["samples_ns"][s].get<double>() * 1e-9, tokens, 1e-6);
    EXPECT_EQ(r["stats"]["syncs"], i % 2 ? 12 : 2) << "one step for all";
  }
}

TEST_F(BenchTest, SaysInALineThatMemoryIsNotPinnedAndWhatToDo) {
  // Without the right to pin (a root user has it whatever the limit says), one megabyte is allowed.
  const std::string unprivileged = ::geteuid() == 0 ? "setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock " : "";
  if (!unprivileged.empty() && std::system("setpriv --bounding-set -ipc_lock true 2> /dev/null") != 0)
    GTEST_SKIP() << "runs as root, and there is no setpriv to give up privileges";
  bench("--json", "ulimit -l 1000 && " + unprivileged);
  const std::string err = text("err");
  EXPECT_TRUE(err.starts_with("pinned ")) << err;
  EXPECT_NE(err.find("pin 1024 kB: raise `ulimit -l`\n"), std::string::npos) << err;
  EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
  EXPECT_NE(json("out")[0]["residency"]["refusal"], "");
}

}  // namespace
}  // namespace halyard
