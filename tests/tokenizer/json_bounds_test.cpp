// Time and memory grow linearly with the length of the text, whatever it contains.
#include <gtest/gtest.h>

#include <cmath>

#include "lora/tokenizer/tokenizer.h"
#include "support/paths.h"
#include "tokenizer/json/merger.h"
#include "tokenizer/unicode/normal_form.h"

namespace lora::tokenizer {
namespace {

TEST(TokenizerJsonBounds, MergingALongWordTakesFewLookups) {
  PairTable pairs(40);
  for (int32_t i = 0; i < 40; ++i) {
    pairs.set(i, i, {static_cast<uint32_t>(i), i + 1});  // pairs of pairs of pairs
  }
  Merger merger(pairs);
  std::vector<int32_t> symbols(size_t{1} << 20, 0);
  merger.merge(symbols);
  EXPECT_EQ(symbols, std::vector<int32_t>{20});
  EXPECT_LT(merger.num_lookups(), size_t{6} << 20);  // three per merge and one per neighbour, however long the word
}

TEST(TokenizerJsonBounds, ShortAndLongWordsMergeAlike) {
  PairTable pairs(3);
  pairs.set(0, 0, {1, 2});
  pairs.set(0, 1, {0, 3});
  pairs.set(2, 3, {2, 4});
  Merger merger(pairs);
  for (const size_t count : {31U, 32U, 33U, 34U, 35U}) {
    std::vector<int32_t> symbols(count, 0);
    symbols[count / 2] = 1;
    merger.merge(symbols);
    std::vector<int32_t> expected;
    const size_t before = count / 2 - 1;  // of these, the last zero merges with the 1 first
    expected.assign(before / 2, 2);
    if (before % 2 == 0) {
      expected.back() = 4;
    } else {
      expected.insert(expected.end(), {0, 3});
    }
    const size_t behind = count - before - 2;
    expected.insert(expected.end(), behind / 2, 2);
    expected.insert(expected.end(), behind % 2, 0);
    EXPECT_EQ(symbols, expected) << count;
  }
}

// If long runs were not sorted first, ICU would move each of these marks past all those before it.
TEST(TokenizerJsonBounds, LongRunsOfMarksAreSorted) {
  std::string text = "a";
  std::string expected = "a";
  for (int i = 0; i < 200'000; ++i) {
    text += "\u0301\u0323";
  }
  for (const char* mark : {"\u0323", "\u0301"}) {
    for (int i = 0; i < 200'000; ++i) {
      expected += mark;
    }
  }
  EXPECT_TRUE(to_normal_form({text, 1}, NormalForm::kNfd).text == expected);
}

TEST(TokenizerJsonBounds, HostileTexts) {
  const std::filesystem::path folder = std::filesystem::path(lora::test::data_folder()) / "tokenizer_json";
  for (const char* kind : {"gpt2", "llama3", "o200k", "llama2", "albert", "unigram_bytes", "charsmap_bytes", "bert"}) {
    const auto tokenizer = load_tokenizer(folder / (std::string(kind) + ".json"));
    for (const char* unit :
         {"a", " ", "\n", "A", "\u0301", "\U0001f600", "1", "<|", "\u0301\u0323", "\u0600", "\U0001f1e9", "\u0915\u094d", "\u231a\u200d"}) {
      std::string text;
      while (text.size() < 200'000) {
        text += unit;
      }
      const std::vector<int32_t> ids = tokenizer->encode_with_specials(text, true);
      EXPECT_LE(ids.size(), text.size() + 3) << kind << " " << unit;
    }
  }
}

}  // namespace
}  // namespace lora::tokenizer
