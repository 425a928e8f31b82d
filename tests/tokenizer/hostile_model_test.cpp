// Damaged and malicious model files cause a model Error and never crash the process.
#include <gtest/gtest.h>

#include <cmath>

#include "lora/base/file.h"
#include "lora/base/random.h"
#include "lora/tokenizer/tokenizer.h"
#include "proto_builder.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::tokenizer {
namespace {

using test::bytes_field;
using test::expect_error;
using test::kNormal;
using test::kUserDefined;
using test::little_endian;
using test::model_with_charsmap;
using test::number_field;
using test::piece;
using test::small_model;
using test::TemporaryFolder;

void load_bytes(const TemporaryFolder& folder, const std::string& bytes) {
  const auto tokenizer = load_tokenizer(folder.write("x.model", bytes));
  for (const char* text : {"", "a b ab", "<|user|>", "ab\xf0\x9f\x98\x80", "\xef\xac\x81 \xc2\xbd"}) {
    tokenizer->decode(tokenizer->encode(text), true);
  }
}

constexpr uint32_t kHasValue = 1U << 8;
constexpr uint32_t kIsValue = 1U << 31;

// One block of units; only the given ones can be reached by a text.
std::string trie(const std::vector<std::pair<size_t, uint32_t>>& units, const std::string& strings) {
  std::vector<uint32_t> all(256, kIsValue);
  all[0] = 1U << 10;  // a root whose children are all absent
  for (const auto& [index, bits] : units) {
    all[index] = bits;
  }
  std::string blob = little_endian(1024);
  for (const uint32_t bits : all) {
    blob += little_endian(bits);
  }
  return blob + strings;
}

uint32_t unit(uint32_t label, uint32_t offset) {
  return label | offset << 10;
}

TEST(HostileModel, Table) {
  const TemporaryFolder folder;
  std::string nested;
  for (int i = 1; i <= 65; ++i) {
    nested += piece("x" + std::string(i, 'y'), kUserDefined);
  }
  const std::string nul(1, '\0');
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "the file is empty"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"},
      {"{\"not\": \"a model\"}", "not a SentencePiece model"},
      {nul, "impossible tag"},
      {"\x0a", "ends inside a number"},
      {"\x0a\x05"
       "ab",
       "needs 5 bytes, but only 2 are left"},
      {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "not a SentencePiece model"},
      {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than 10 bytes"},
      {"\x0b", "unknown wire type 3"},
      {"\x0d"
       "ab",
       "ends inside a number"},
      {number_field(1, 5), "no pieces"},
      {bytes_field(2, ""), "no pieces"},
      {small_model() + bytes_field(1, "\x0a\x7f"), "needs 127 bytes"},
      {small_model() + piece(""), "piece 7 is empty"},
      {small_model() + piece(std::string(100'000, 'a')), "found 100000 bytes, expected at most 10000"},
      {small_model() + piece("c", kNormal, NAN), "piece 7 (c) has a score"},
      {small_model() + piece("c", kNormal, INFINITY), "has a score"},
      {small_model() + piece("a"), "cannot be used"},
      {piece("a"), "cannot be used"},
      {small_model() + piece(nul), "cannot be used"},
      {small_model() + nested, "are prefixes of each other"},
      {small_model() + bytes_field(2, "\x0a\x7f"), "cannot be used"},
      {small_model() + bytes_field(3, "\x12\x7f"), "needs 127 bytes"},
      {model_with_charsmap("abc"), "impossible size"},
      {model_with_charsmap(little_endian(0) + "abc"), "impossible size"},
      {model_with_charsmap(little_endian(0xffffffff) + "abc"), "impossible size"},
      {model_with_charsmap(little_endian(8) + "0123456789"), "impossible size"},
      {model_with_charsmap(trie({}, "")), "impossible size"},
      {model_with_charsmap(trie({}, "a")), "no end"},
      {model_with_charsmap(trie({}, std::string(5000, 'a') + nul)), "5000 bytes long"},
      {model_with_charsmap(trie({{0, unit(0, 4096)}}, nul)), "unit 0 of its trie points outside the trie"},
      {model_with_charsmap(trie({{0, kIsValue | unit(0, 4096)}}, nul)), "unit 0 of its trie points outside the trie"},
      {model_with_charsmap(trie({{3, unit('x', 1U << 20)}}, nul)), "unit 3 of its trie points outside the trie"},
      {model_with_charsmap(trie({{0, unit(0, 1)}, {1 ^ 'a', kHasValue | unit('a', 2)}, {(1 ^ 'a') ^ 2, kIsValue | 99}}, nul)),
       "points beyond the replacements"},
      {model_with_charsmap(trie({{0, unit(0, 1)}, {1 ^ 'a', unit('a', 'a')}}, nul)), "has a loop"},
      {small_model() + bytes_field(5, bytes_field(2, "abc")), "impossible size"},
  };
  ASSERT_GE(cases.size(), 30U);
  for (const auto& [bytes, part] : cases) {
    SCOPED_TRACE(part);
    expect_error(ErrorKind::kModel, {"x.model]", part}, [&, &bytes = bytes] { load_bytes(folder, bytes); });
  }
  EXPECT_NO_THROW(load_bytes(folder, small_model()));
  EXPECT_NO_THROW(load_bytes(folder, small_model() + piece(std::string(10'000, 'a'))));
  EXPECT_NO_THROW(load_bytes(folder, model_with_charsmap(trie({{0, unit(0, 1)}}, nul))));
}

// 33 rules that are prefixes of each other: 'a' repeated, each node with a value.
TEST(HostileModel, TooManyRulesAtOnePosition) {
  const TemporaryFolder folder;
  for (const int count : {32, 33}) {
    // Node k is at unit 256k + 'a', its children are in block k + 1, and its value is that block's first unit.
    std::string blob = little_endian(1024 * (count + 2));
    for (int block = 0; block < count + 2; ++block) {
      std::vector<uint32_t> units(256, kIsValue);
      if (block == 0) {
        units[0] = 1U << 9 | 1U << 10;  // the wide form: offset 1 << 8
      } else {
        const auto offset = static_cast<uint32_t>((256 * block + 'a') ^ (256 * (block + 1)));
        units['a'] = block <= count ? (kHasValue | unit('a', offset)) : kIsValue;
      }
      for (const uint32_t bits : units) {
        blob += little_endian(bits);
      }
    }
    const std::string model = model_with_charsmap(blob + "b" + std::string(1, '\0'));
    if (count == 32) {
      const auto tokenizer = load_tokenizer(folder.write("x.model", model));
      EXPECT_EQ(tokenizer->encode(std::string(32, 'a')), tokenizer->encode("b"));
    } else {
      expect_error(ErrorKind::kModel, {"more than 32 of its rules are prefixes of each other"}, [&] { load_bytes(folder, model); });
    }
  }
}

TEST(HostileModel, TruncatedAndFlippedFilesNeverCrash) {
  const TemporaryFolder folder;
  CounterRandom random(7);
  int loaded = 0;
  int refused = 0;
  for (const char* name : {"bpe.model", "unigram.model"}) {
    const std::string good = read_file(fs::path(lora::test::data_folder()) / "tokenizer" / name, ErrorKind::kModel);
    for (int round = 0; round < 150; ++round) {
      std::string bad = good;
      if (round % 4 == 0) {
        bad.resize(random.below(good.size()));
      }
      for (uint64_t flips = random.below(3) + (round % 4 == 0 ? 0 : 1); flips > 0 && !bad.empty(); --flips) {
        bad[random.below(bad.size())] = static_cast<char>(random.next());
      }
      try {
        load_bytes(folder, bad);
        ++loaded;
      } catch (const Error& error) {
        ++refused;
        EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
      }
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_GT(loaded, 20);
}

}  // namespace
}  // namespace lora::tokenizer
