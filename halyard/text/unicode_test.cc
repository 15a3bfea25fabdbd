#include "halyard/text/unicode.h"

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "halyard/base/json.h"
#include "halyard/testing/paths.h"

namespace halyard::text {
namespace {

// What the tokenizers library says; testdata/text/make_unicode.py made it.
Json expected() {
  std::ifstream in(testing::source_dir() / "testdata/text/unicode.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_json(text).value();
}

TEST(Unicode, EveryCodePointIsInTheClassesThatTheTokenizersLibraryPutsItIn) {
  const Json want = expected();
  const std::pair<const char*, bool (*)(CodePoint)> classes[] = {
      {"mark", is_mark}, {"punctuation", is_punctuation}, {"numeric", is_numeric}, {"word", is_word}};
  for (const auto& [name, in_class] : classes) {
    std::vector<bool> in(0x110000);
    for (const Json& range : want[name])
      for (auto c = range[0].get<CodePoint>(); c <= range[1].get<CodePoint>(); ++c) in[c] = true;
    for (CodePoint c = 0; c < 0x110000; ++c) {
      if (c >= 0xd800 && c <= 0xdfff) continue;
      ASSERT_EQ(in_class(c), in[c]) << name << " U+" << std::hex << std::uint32_t{c};
    }
  }
}

TEST(Unicode, NormalFormsAreThoseOfTheTokenizersLibrary) {
  constexpr NormalForm forms[] = {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd};
  const Json want = expected();
  ASSERT_GT(want["texts"].size(), 500U);
  for (const Json& t : want["texts"]) {
    const auto text = t[0].get<std::string>();
    for (std::size_t f = 0; f < 4; ++f)
      EXPECT_EQ(normalize(text, forms[f]), t[f + 1].get<std::string>()) << "form " << f << " of " << text;
    EXPECT_EQ(strip_marks(text), t[5].get<std::string>()) << text;
  }
}

TEST(Unicode, NormalFormsOfEveryCodePointBetweenMarksAreThoseOfTheTokenizersLibrary) {
  const std::pair<const char*, NormalForm> forms[] = {
      {"NFC", NormalForm::nfc}, {"NFD", NormalForm::nfd}, {"NFKC", NormalForm::nfkc}, {"NFKD", NormalForm::nfkd}};
  const Json want = expected();
  for (const auto& [name, form] : forms) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a of all results
    for (CodePoint c = 0; c < 0x110000; ++c) {
      if (c >= 0xd800 && c <= 0xdfff) continue;
      std::string text = "a\u0345";
      append_utf8(text, c);
      for (const char b : normalize(text + "\u0316", form))
        hash = (hash ^ static_cast<std::uint8_t>(b)) * 0x100000001b3;
    }
    EXPECT_EQ(std::to_string(hash), want["every"][name].get<std::string>()) << name;
  }
}

TEST(Unicode, LowerCaseIsThatOfTheTokenizersLibrary) {
  const Json want = expected();
  std::vector<std::string> lower(0x110000);
  for (const Json& pair : want["lower"]) {
    const auto upper = pair[0].get<std::string>();
    std::size_t pos = 0;
    lower[next_code_point(upper, pos)] = pair[1].get<std::string>();
  }
  for (CodePoint c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_EQ(lowercase(text), lower[c].empty() ? text : lower[c]) << "U+" << std::hex << std::uint32_t{c};
  }
}

}  // namespace
}  // namespace halyard::text
