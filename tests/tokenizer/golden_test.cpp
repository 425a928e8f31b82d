// Encoding equals that of the sentencepiece package for every string of scripts/golden/tokenizer_golden.py.
#include <gtest/gtest.h>

#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/tokenizer/tokenizer.h"
#include "support/paths.h"

namespace lora::tokenizer {
namespace {

const std::filesystem::path kSentencePieceFolder = std::filesystem::path(lora::test::data_folder()) / "tokenizer";

TEST(TokenizerGolden, EncodesAndDecodesLikeTheReference) {
  const Json golden = read_json(kSentencePieceFolder / "golden.json", ErrorKind::kData);
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  ASSERT_GE(texts.size(), 300U);
  ASSERT_EQ(golden["models"].size(), 2U);
  for (const auto& [name, expected] : golden["models"].items()) {
    const auto tokenizer = load_tokenizer(kSentencePieceFolder / (name + ".model"));
    EXPECT_EQ(tokenizer->vocab_size(), expected["pieces"].get<int64_t>());
    EXPECT_EQ(tokenizer->bos_id(), expected["bos"].get<int32_t>());
    EXPECT_EQ(tokenizer->eos_id(), expected["eos"].get<int32_t>());
    ASSERT_EQ(expected["ids"].size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto ids = expected["ids"][i].get<std::vector<int32_t>>();
      EXPECT_EQ(tokenizer->encode(texts[i]), ids) << name << ": " << shown(Json(texts[i]));
      const std::string key = std::to_string(i);
      const auto decoded = expected["decoded"].find(key);
      EXPECT_EQ(tokenizer->decode(ids), decoded != expected["decoded"].end() ? decoded->get<std::string>() : texts[i]) << name << " " << i;
    }
  }
}

TEST(TokenizerGolden, SpecialTokensAreShownOnRequestAndNeverParsedFromText) {
  const auto tokenizer = load_tokenizer(kSentencePieceFolder / "bpe.model");
  std::vector<int32_t> ids = tokenizer->encode("the </s> river");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer->eos_id()), 0);
  ids = tokenizer->encode("the river");
  ids.insert(ids.begin(), *tokenizer->bos_id());
  ids.push_back(*tokenizer->eos_id());
  ids.push_back(100'000);
  ids.push_back(-1);
  EXPECT_EQ(tokenizer->decode(ids), "the river");
  EXPECT_EQ(tokenizer->decode(ids, true), "<s>the river</s><id 100000><id -1>");
  EXPECT_EQ(tokenizer->decode({}), "");
  EXPECT_EQ(tokenizer->token(1), "<s>");
  EXPECT_EQ(tokenizer->token(tokenizer->encode("the")[0]).front(), ' ');
  EXPECT_EQ(tokenizer->files(), std::vector<std::filesystem::path>{kSentencePieceFolder / "bpe.model"});
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_FALSE(tokenizer->add_eos());
  for (const char* text : {"\xff", "a\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_THROW(tokenizer->encode(text), Error);
  }
}

}  // namespace
}  // namespace lora::tokenizer
