// tokenizer.json: ids and text equal those of Hugging Face's `tokenizers` for every string of scripts/golden/tokenizer_json.py.
#include <gtest/gtest.h>

#include "json_folder.h"
#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {
namespace {

using test::kJsonFolder;
using Ids = std::vector<int32_t>;

/// The value, or the usual one if the file holds null.
template <typename Value>
Value or_usual(const Json& value, const Value& usual) {
  return value.is_null() ? usual : value.get<Value>();
}

void expect_golden(const std::string& kind, const std::vector<std::string>& texts) {
  const auto tokenizer = load_tokenizer(kJsonFolder / (kind + ".json"));
  const Json expected = read_json(kJsonFolder / (kind + ".expected.json"), ErrorKind::kData);
  ASSERT_EQ(expected["ids"].size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(kind + ": " + shown(Json(texts[i]), 200));
    const Ids ids = expected["ids"][i].get<Ids>();
    EXPECT_EQ(tokenizer->encode_with_specials(texts[i], true), ids);
    EXPECT_EQ(tokenizer->encode(texts[i]), or_usual(expected["plain"][i], ids));
    EXPECT_EQ(tokenizer->decode(ids), or_usual(expected["text"][i], texts[i]));
    EXPECT_EQ(tokenizer->decode(ids, true), or_usual(expected["shown"][i], texts[i]));
  }
}

class TokenizerJson : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerJson, EncodesAndDecodesLikeTheReference) {
  const Json golden = read_json(kJsonFolder / "texts.json", ErrorKind::kData);
  for (const std::string& kind : split(GetParam(), ' ')) {
    expect_golden(kind, golden["texts"].get<std::vector<std::string>>());
  }
}

INSTANTIATE_TEST_SUITE_P(Bytes, TokenizerJson,
                         testing::Values("gpt2 roberta llama3 qwen2 o200k tekken smollm",
                                         "deepseek deepseek3 falcon neox clip byte_normalizer"));
INSTANTIATE_TEST_SUITE_P(SentencePiece, TokenizerJson,
                         testing::Values("llama2 mistral phi3 gemma", "t5 xlmr albert unigram_bytes charsmap_bytes"));
INSTANTIATE_TEST_SUITE_P(Words, TokenizerJson, testing::Values("bert bert_cased bert_bytes word_level stripped_bytes bpe_words"));

TEST(TokenizerJson, KnowsItsSpecialTokens) {
  const auto llama = load_tokenizer(kJsonFolder / "llama3.json");
  EXPECT_TRUE(llama->add_bos());
  EXPECT_FALSE(llama->add_eos());
  EXPECT_EQ(llama->token(*llama->bos_id()), "<|begin_of_text|>");
  EXPECT_EQ(llama->eos_id(), std::nullopt);
  EXPECT_EQ(llama->vocab_size(), 603);
  EXPECT_EQ(llama->token(603), "<id 603>");
  EXPECT_EQ(llama->token(llama->encode(" river")[0]).front(), ' ');
  EXPECT_EQ(llama->decode({100'000, -1}, true), "");
  EXPECT_EQ(llama->files(), std::vector<std::filesystem::path>{kJsonFolder / "llama3.json"});
  EXPECT_EQ(llama->encode_with_specials("a<|eot_id|>", false).back(), 602);
  EXPECT_EQ(llama->decode(llama->encode("a<|eot_id|>")), "a<|eot_id|>");

  const auto bert = load_tokenizer(kJsonFolder / "bert.json");
  EXPECT_EQ(bert->token(*bert->bos_id()), "[CLS]");
  EXPECT_EQ(bert->token(*bert->eos_id()), "[SEP]");
  EXPECT_TRUE(bert->add_bos() && bert->add_eos());
  for (const char* text : {"\xff", "a\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_THROW(bert->encode(text), Error);
    EXPECT_THROW(llama->encode_with_specials(text, true), Error);
  }
}

}  // namespace
}  // namespace lora::tokenizer
