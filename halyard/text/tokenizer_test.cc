#include "halyard/text/tokenizer.h"

#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/testing/cpu_time.h"
#include "halyard/testing/json.h"
#include "halyard/testing/paths.h"
#include "halyard/testing/patience.h"

namespace halyard {
namespace {

using Ids = std::vector<std::int32_t>;

struct Case {
  std::string text;
  Ids ids;
  Ids ids_special;
  std::string decoded;
  std::string decoded_skip_special;
};

std::string folder_of(const std::string& kind) { return "text/tokenizers/" + kind; }

std::vector<Case> read_cases(const std::string& path) {
  std::ifstream in(path);
  std::vector<Case> cases;
  for (std::string line; std::getline(in, line);) {
    const auto json = parse_json(line);
    if (!json) {
      ADD_FAILURE() << path << ": " << json.error().str();
      break;
    }
    const auto text = [&](const char* key) { return (*json)[key].get<std::string>(); };
    Case c{text("text"), (*json)["ids"].get<Ids>(), {}, text("decoded"), text("decoded_skip_special")};
    c.ids_special = (*json)["ids_special"].is_null() ? c.ids : (*json)["ids_special"].get<Ids>();
    cases.push_back(std::move(c));
  }
  return cases;
}

// A part of a JSON string: what parses it accepts it where it is UTF-8.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    const bool control = static_cast<unsigned char>(c) < 0x20;
    out += control ? ' ' : c;
  }
  return out;
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto json = testing::golden(folder_of(GetParam()) + "/tokenizer.json");
    const auto list = testing::golden(folder_of(GetParam()) + "/cases.jsonl");
    if (json.empty() || list.empty()) GTEST_SKIP() << "no golden " << folder_of(GetParam());
    auto loaded = Tokenizer::load(json);
    ASSERT_TRUE(loaded) << loaded.error().str();
    tokenizer_.emplace(*std::move(loaded));
    cases_ = read_cases(list);
    ASSERT_FALSE(cases_.empty());
  }
  std::optional<Tokenizer> tokenizer_;
  std::vector<Case> cases_;
};

TEST_P(Golden, EncodesAsTheTokenizersLibraryDoes) {
  for (const Case& c : cases_) {
    const auto ids = tokenizer_->encode(c.text, false);
    ASSERT_TRUE(ids) << ids.error().str();
    EXPECT_EQ(*ids, c.ids) << "text: " << c.text;
    EXPECT_EQ(*tokenizer_->encode(c.text, true), c.ids_special) << "text: " << c.text;
  }
}

TEST_P(Golden, DecodesAsTheTokenizersLibraryDoes) {
  for (const Case& c : cases_) {
    EXPECT_EQ(tokenizer_->decode(c.ids, false).value(), c.decoded) << "text: " << c.text;
    EXPECT_EQ(tokenizer_->decode(c.ids, true).value(), c.decoded_skip_special) << "text: " << c.text;
  }
}

// Feeds the ids one by one; every part must be whole UTF-8, and all parts together the whole decode.
void expect_streams(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder stream(tokenizer, skip_special);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string part = stream.add(id);
    EXPECT_TRUE(parse_json("\"" + escaped(part) + "\"")) << "a part that is not UTF-8 after " << text;
    text += part;
  }
  text += stream.finish();
  EXPECT_EQ(text, tokenizer.decode(ids, skip_special).value());
}

TEST_P(Golden, StreamsWhatItDecodesWholeFromEveryStart) {
  for (const Case& c : cases_) {
    const std::size_t starts = std::min<std::size_t>(c.ids.size(), 20);
    for (std::size_t start = 0; start < starts; ++start)
      for (const bool skip : {false, true})
        expect_streams(*tokenizer_, Ids(c.ids.begin() + static_cast<std::ptrdiff_t>(start), c.ids.end()), skip);
  }
}

TEST_P(Golden, StreamsARandomListOfIdsAsItDecodesItWhole) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 300; ++i) {
    Ids ids(random() % 24);
    for (auto& id : ids) id = static_cast<std::int32_t>(random() % (tokenizer_->vocab_size() + 3)) - 1;
    expect_streams(*tokenizer_, ids, i % 2 == 0);
  }
}

TEST_P(Golden, DecodesARandomTextBackToItself) {
  if (std::string(GetParam()) == "added" || std::string(GetParam()) == "stripped" || std::string(GetParam()) == "qwen2")
    GTEST_SKIP() << "normalises the text";
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::vector<std::string> parts = {"a",  "the",  " ",           "\n",    "  ",  "\r\n",
                                          "é",  "日本", "👩‍🚀", "'s",    "123", "<|endoftext|>",
                                          "\t", "Ω",    "!",           "\u0301"};
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (auto n = random() % 30; n > 0; --n) text += parts[random() % parts.size()];
    EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text, false).value(), false).value(), text);
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Golden,
                         ::testing::Values("qwen2", "llama3", "gpt2", "o200k", "deepseek", "starcoder", "added",
                                           "stripped"),
                         [](const auto& param) { return std::string(param.param); });

// A small byte-level tokenizer: 256 bytes, then the results of the merges, then one special token.
Json small() {
  Json vocab = Json::object();
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte < 127) || (byte >= 161 && byte < 173) || byte >= 174;
    const int c = printable ? byte : 256 + id++;
    std::string token;
    if (c >= 0x80) token += static_cast<char>(0xc0 | (c >> 6));
    token += static_cast<char>(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    vocab[token] = byte;
  }
  vocab["he"] = 256;
  vocab["aa"] = 257;
  Json json = testing::json_of(R"({
    "added_tokens": [{"id": 258, "content": "<|end|>", "special": true, "normalized": false}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+|."}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "merges": [["h", "e"], ["a", "a"]]}})");
  json["model"]["vocab"] = std::move(vocab);
  return json;
}

Json with(const char* pointer, Json value) {
  Json json = small();
  testing::at_path(json, pointer) = std::move(value);
  return json;
}

Json without(const char* parent, const char* key) {
  Json json = small();
  testing::at_path(json, parent).erase(key);
  return json;
}

Tokenizer parsed(const Json& json) {
  auto tokenizer = Tokenizer::parse(json.dump(), "tokenizer.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().str();
  return *std::move(tokenizer);
}

Json split_by(const char* regex) {
  return Json::object(
      {{"type", "Split"}, {"pattern", Json::object({{"Regex", regex}})}, {"behavior", "Isolated"}, {"invert", false}});
}

Json replacing(const char* from, const std::string& to) {
  return Json::object({{"type", "Replace"}, {"pattern", Json::object({{"String", from}})}, {"content", to}});
}

// Milliseconds that `work` takes.
template <class Work> double milliseconds(Work work) {
  const double start = testing::thread_ms();
  work();
  return testing::thread_ms() - start;
}

TEST(Tokenizer, RefusesAFileThatContradictsItself) {
  const struct {
    const char* name;
    std::string json;
    std::vector<const char*> mention;
  } cases[] = {
      {"no bytes", "", {"JSON"}},
      {"cut", small().dump().substr(0, 500), {"JSON"}},
      {"an array", "[]", {"object"}},
      {"not UTF-8", "{\"t\xff\": 1}", {"UTF-8"}},
      {"an unknown model", with("/model/type", "BPEX").dump(), {"BPEX"}},
      {"no model", without("", "model").dump(), {"model"}},
      {"no vocabulary", without("/model", "vocab").dump(), {"vocab"}},
      {"id -1", with("/model/vocab/zzz", -1).dump(), {"zzz", "vocab", "-1"}},
      {"id 2^40", with("/model/vocab/zzz", std::int64_t{1} << 40).dump(), {"zzz", "vocab", "1099511627776"}},
      {"id 2^64", R"({"model":{"vocab":{"zzz":18446744073709551616}}})", {"zzz", "vocab"}},
      {"id of a fraction", with("/model/vocab/zzz", 1.5).dump(), {"zzz", "vocab"}},
      {"id of an object", with("/model/vocab/zzz", Json::object()).dump(), {"zzz", "vocab"}},
      {"merge of no token", with("/model/merges/-", Json::array({"zq", "x"})).dump(), {"zq", "merge"}},
      {"merge into no token", with("/model/merges/-", Json::array({"q", "x"})).dump(), {"qx", "merge"}},
      {"merge of three", with("/model/merges/-", Json::array({"h", "i", "n"})).dump(), {"merge"}},
      {"merge of three as text", with("/model/merges", Json::array({"h i n"})).dump(), {"merge", "h i n"}},
      {"merge of a number", with("/model/merges/-", 7).dump(), {"merges"}},
      {"an open bracket", with("/pre_tokenizer", split_by("(unclosed")).dump(), {"pre_tokenizer", "(unclosed"}},
      {"nested sets", with("/pre_tokenizer", split_by("[a-z&&[^b]]")).dump(), {"[a-z&&[^b]]"}},
      {"an unknown pre-tokenizer", with("/pre_tokenizer", Json::object({{"type", "Chopper"}})).dump(), {"Chopper"}},
      {"an unknown normaliser", with("/normalizer", Json::object({{"type", "Sandpaper"}})).dump(), {"Sandpaper"}},
      {"an unknown decoder", with("/decoder", Json::object({{"type", "Guess"}})).dump(), {"decoder", "Guess"}},
      {"an unknown behaviour", with("/pre_tokenizer/pretokenizers/0/behavior", "Shuffled").dump(), {"Shuffled"}},
      {"an undefined special token",
       with("/post_processor",
            testing::json_of(
                R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<nowhere>"}}],"special_tokens":{}})"))
           .dump(),
       {"<nowhere>"}},
      {"an added token of a number", with("/added_tokens/0/content", 5).dump(), {"content"}},
      {"a long added token",
       with("/added_tokens/0/content", std::string(50000, 'x')).dump(),
       {"added_tokens", "50000"}},
      {"deep nesting", std::string(5000, '[') + std::string(5000, ']'), {"nested deeper"}},
  };
  for (const auto& c : cases) {
    const auto tokenizer = Tokenizer::parse(c.json, "some/tokenizer.json");
    ASSERT_FALSE(tokenizer) << c.name;
    const std::string message = tokenizer.error().str();
    EXPECT_NE(message.find("some/tokenizer.json"), message.npos) << c.name << ": " << message;
    for (const char* word : c.mention) EXPECT_NE(message.find(word), message.npos) << c.name << ": " << message;
  }
  EXPECT_NE(Tokenizer::load("/nowhere/tokenizer.json").error().str().find("/nowhere/tokenizer.json"),
            std::string::npos);
}

// Files of megabytes that hold far more than anybody's tokenizer are refused in the time it takes to read them.
TEST(Tokenizer, RefusesHugePartsEarlyAndCheaply) {
  const auto many = [](const std::string& item, int n) {
    std::string list = "[" + item;
    for (int i = 1; i < n; ++i) list += "," + item;
    return list + "]";
  };
  const auto file = [](const std::string& key, const std::string& value) {
    return "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"" + key + "\":" + value + "}";
  };
  const auto sequence = [](const char* list, const std::string& items) {
    return fmt::format(R"({{"type":"Sequence","{}":{}}})", list, items);
  };
  const std::string byte_level =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  const std::string split = R"({"type":"Split","pattern":{"Regex":"\\w+"},"behavior":"Isolated"})";
  std::string tokens = "[";
  for (int i = 0; i < 40'000; ++i)
    tokens += fmt::format(R"({}{{"id":1,"content":"{}{}","special":true}})", i ? "," : "", i,
                          std::string(1000, static_cast<char>('a' + i % 26)));
  const struct {
    const char* name;
    std::string json;
  } cases[] = {
      {"pre-tokenizers", file("pre_tokenizer", sequence("pretokenizers", many(byte_level, 200'000)))},
      {"some hundreds of regexes", file("pre_tokenizer", sequence("pretokenizers", many(split, 300)))},
      {"nested sequences",
       file("pre_tokenizer", sequence("pretokenizers", many(sequence("pretokenizers", many(split, 50)), 50)))},
      {"normalizers", file("normalizer", sequence("normalizers", many(R"({"type":"NFC"})", 200'000)))},
      {"null normalizers", file("normalizer", sequence("normalizers", many("null", 200'000)))},
      {"decoders", file("decoder", sequence("decoders", many(R"({"type":"Fuse"})", 200'000)))},
      {"post-processors", file("post_processor", sequence("processors", many(byte_level, 200'000)))},
      {"special tokens", file("post_processor", R"({"type":"TemplateProcessing","single":)" +
                                                    many(R"({"SpecialToken":{"id":"x"}})", 2000) +
                                                    R"(,"special_tokens":{"x":{"ids":)" + many("0", 3000) + "}}}")},
      {"a long regex", file("pre_tokenizer", R"({"type":"Split","behavior":"Isolated","pattern":{"Regex":")" +
                                                 std::string(1 << 20, 'x') + "\"}}")},
      {"added tokens", file("added_tokens", tokens + "]")},
      {"empty objects", file("x", many("{}", 6'000'000))},
  };
  for (const auto& c : cases) {
    Errc code{};
    const double ms = milliseconds([&] { code = Tokenizer::parse(c.json, "t").error().code; });
    fmt::print("{}: {:.1f} MB refused in {:.1f} ms\n", c.name, static_cast<double>(c.json.size()) * 1e-6, ms);
    EXPECT_EQ(code, Errc::limit_exceeded) << c.name;
    EXPECT_LT(ms, 2000 * testing::patience) << c.name;
  }
}

TEST(Tokenizer, TakesOddButValidFiles) {
  const Ids expected = {256, 32, 257, 257, 'b'};
  const auto space = parsed(small()).token_to_id("\xc4\xa0");
  ASSERT_EQ(space, 32);
  const Json odd[] = {
      small(),
      with("/model/merges", Json::array({"h e", "a a"})),
      with("/model/merges", Json::array({"#version: 0.2", "h e", "a a"})),
      with("/model/vocab/zzz", 5),           // an id that stands twice
      with("/model/vocab/zzz", 0x7fffffff),  // an id far out
      with("/normalizer", nullptr),
      without("", "added_tokens"),
      with("/added_tokens/-", Json::object({{"id", 259}, {"content", ""}})),
      with("/added_tokens/-", Json::object({{"id", 5}, {"content", "<|two|>"}})),
  };
  for (const Json& json : odd)
    EXPECT_EQ(parsed(json).encode("he aaaab", true).value(), expected) << json.dump().substr(0, 200);
  EXPECT_EQ(parsed(with("/model/vocab/zzz", 0x7fffffff)).id_to_token(0x7fffffff), "zzz");
  EXPECT_EQ(parsed(with("/model/vocab/zzz", 0x7fffffff)).vocab_size(), std::size_t{1} << 31);
}

TEST(Tokenizer, AnswersAboutItsTokens) {
  const Tokenizer tokenizer = parsed(small());
  EXPECT_EQ(tokenizer.vocab_size(), 259U);
  EXPECT_EQ(tokenizer.token_to_id("he"), 256);
  EXPECT_EQ(tokenizer.token_to_id("<|end|>"), 258);
  EXPECT_EQ(tokenizer.token_to_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(257), "aa");
  EXPECT_EQ(tokenizer.id_to_token(259), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(258));
  EXPECT_FALSE(tokenizer.is_special(256));
  EXPECT_FALSE(tokenizer.encode("a\xff", false));
}

TEST(Tokenizer, StopsANormaliserThatDoublesAndDoubles) {
  const Json twice = Json::object({{"type", "Sequence"}, {"normalizers", std::vector<Json>(40, replacing("a", "aa"))}});
  const Tokenizer tokenizer = parsed(with("/normalizer", twice));
  EXPECT_LT(milliseconds([&] {
              const auto ids = tokenizer.encode("aaaaaaaa", false);
              ASSERT_FALSE(ids);
              EXPECT_NE(ids.error().str().find("tokenizer.json: the normalizer"), std::string::npos)
                  << ids.error().str();
            }),
            500 * testing::patience);
  const Json bytes = Json::object({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  EXPECT_FALSE(parsed(with("/pre_tokenizer",
                           Json::object({{"type", "Sequence"}, {"pretokenizers", std::vector<Json>(40, bytes)}})))
                   .encode("é", false));
  const Json growing = Json::object({{"type", "Sequence"}, {"decoders", std::vector<Json>(60, replacing("a", "aa"))}});
  EXPECT_FALSE(parsed(with("/decoder", growing)).decode(Ids{'a'}, false));
}

TEST(Tokenizer, StopsARegexThatBacktracksWithoutEnd) {
  const Tokenizer tokenizer = parsed(with("/pre_tokenizer/pretokenizers/0", split_by("(a+)+$")));
  EXPECT_LT(milliseconds([&] {
              const auto ids = tokenizer.encode(std::string(5000, 'a') + "b", false);
              ASSERT_FALSE(ids);
              EXPECT_NE(ids.error().str().find("(a+)+$"), std::string::npos) << ids.error().str();
            }),
            5000 * testing::patience);
}

// Pairs that a plain multiplicative hash puts all into the start of its table, where each looks past those before it.
TEST(Tokenizer, MergesThatWereChosenToCollideLoadAsOthersDo) {
  constexpr std::uint64_t tokens = 2000, count = 100'000;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pairs;  // hash, left << 32 | right
  for (std::uint64_t left = 0; left < tokens; ++left)
    for (std::uint64_t right = 0; right < tokens; ++right)
      pairs.emplace_back((left << 32 | right) * 0x9e3779b97f4a7c15U, left << 32 | right);
  std::nth_element(pairs.begin(), pairs.begin() + count, pairs.end());
  std::string vocab, merges;
  for (std::uint64_t i = 0; i < tokens; ++i) vocab += fmt::format(R"("{:04}":{},)", i, i);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t left = pairs[i].second >> 32, right = pairs[i].second & 0xffffffff;
    vocab += fmt::format(R"("{:04}{:04}":{},)", left, right, tokens + i);
    merges += fmt::format(R"(["{:04}","{:04}"],)", left, right);
  }
  vocab.pop_back();
  merges.pop_back();
  const std::string json = fmt::format(R"({{"model":{{"type":"BPE","vocab":{{{}}},"merges":[{}]}}}})", vocab, merges);
  const double start = testing::thread_ms();
  const auto tokenizer = Tokenizer::parse(json, "collisions");
  EXPECT_TRUE(tokenizer) << tokenizer.error().str();
  EXPECT_LT(testing::thread_ms() - start, 1500 * testing::patience);
}

TEST(Tokenizer, EncodesALongWordInLittleTime) {
  const Tokenizer tokenizer = parsed(small());
  EXPECT_LT(milliseconds([&] { EXPECT_EQ(tokenizer.encode(std::string(100000, 'a'), false)->size(), 50000U); }),
            1000 * testing::patience);
  std::string marks = "a";  // canonical ordering must not be quadratic
  for (int i = 0; i < 50000; ++i) marks += "\u0301\u0323";
  EXPECT_LT(milliseconds([&] { EXPECT_TRUE(tokenizer.encode(marks, false)); }), 1000 * testing::patience);
}

TEST(Tokenizer, ReplacesWithNothingToFindAsTheTokenizersLibraryDoes) {
  const Tokenizer tokenizer = parsed(with("/normalizer", replacing("", "x")));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("ab", false).value(), false).value(), "xaxbx");
}

TEST(Tokenizer, SplitsInEveryBehaviour) {
  const std::pair<const char*, std::vector<std::string>> expected[] = {{"Isolated", {"h", "-", "-", "e"}},
                                                                       {"Removed", {"h", "e"}},
                                                                       {"Contiguous", {"h", "--", "e"}},
                                                                       {"MergedWithPrevious", {"h-", "-", "e"}},
                                                                       {"MergedWithNext", {"h", "-", "-e"}}};
  for (const auto& [behavior, pieces] : expected) {
    Json json = small();
    json["pre_tokenizer"] =
        Json::object({{"type", "Split"}, {"pattern", Json::object({{"String", "-"}})}, {"behavior", behavior}});
    json["model"]["ignore_merges"] = true;  // so that each piece is one token
    for (const char* token : {"--", "h-", "-e", "h--e"}) json["model"]["vocab"][token] = json["model"]["vocab"].size();
    json.erase("added_tokens");
    const Tokenizer tokenizer = parsed(json);
    std::vector<std::string> got;
    const Ids ids = tokenizer.encode("h--e", false).value();
    for (const auto id : ids) got.emplace_back(*tokenizer.id_to_token(id));
    EXPECT_EQ(got, pieces) << behavior;
  }
}

TEST(Tokenizer, HoldsBackACharacterUntilItIsWhole) {
  const Tokenizer tokenizer = parsed(small());
  StreamDecoder stream(tokenizer, true);
  EXPECT_EQ(stream.add(0xe6), "");
  EXPECT_EQ(stream.add(0x97), "");
  EXPECT_EQ(stream.add(258), "");  // special, skipped
  EXPECT_EQ(stream.add(0xa5), "日");
  EXPECT_EQ(stream.add(0xe6), "");
  EXPECT_EQ(stream.add('a'),
            "\ufffd"
            "a");
  EXPECT_EQ(stream.add(0xf0), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
  EXPECT_EQ(stream.add('a'), "");
}

}  // namespace
}  // namespace halyard
