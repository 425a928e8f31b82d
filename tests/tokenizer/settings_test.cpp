// Settings from tokenizer_config.json and added_tokens.json.
#include <gtest/gtest.h>

#include "lora/tokenizer/tokenizer.h"
#include "proto_builder.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::tokenizer {
namespace {

using test::expect_error;

std::unique_ptr<Tokenizer> load_with(const std::string& config, const std::string& added = "") {
  const test::TemporaryFolder folder;
  folder.write("tokenizer.model", test::small_model());
  if (!config.empty()) {
    folder.write("tokenizer_config.json", config);
  }
  if (!added.empty()) {
    folder.write("added_tokens.json", added);
  }
  return load_tokenizer(folder / "");
}

TEST(TokenizerSettings, BosAndEosRules) {
  struct Case {
    const char* config;
    std::optional<int32_t> bos, eos;
    bool add_bos, add_eos;
  };
  const std::vector<Case> cases{
      {"", 1, 2, true, false},
      {"{}", 1, 2, true, false},
      {R"({"add_bos_token": null, "add_eos_token": null})", 1, 2, true, false},
      {R"({"add_bos_token": false, "add_eos_token": true})", 1, 2, false, true},
      {R"({"bos_token": "a", "eos_token": "ab"})", 4, 6, true, false},
      {R"({"bos_token": {"content": "</s>", "lstrip": false}, "eos_token": {"content": "<s>"}})", 2, 1, true, false},
      {R"({"bos_token": null})", std::nullopt, 2, false, false},
      {R"({"bos_token": null, "add_bos_token": true, "eos_token": null})", std::nullopt, std::nullopt, false, false},
      {R"({"eos_token": null, "add_eos_token": true})", 1, std::nullopt, true, false},
      {R"({"bos_token": "<bos>"})", 7, 2, true, false},  // a new token, as in transformers
      {R"({"eos_token": "<|im_end|>", "added_tokens_decoder": {"0": {"content": "<unk>"}, "7": {"content": "<|im_end|>"}}})", 1, 7, true,
       false},
  };
  for (const Case& each : cases) {
    const auto tokenizer = load_with(each.config);
    EXPECT_EQ(tokenizer->bos_id(), each.bos) << each.config;
    EXPECT_EQ(tokenizer->eos_id(), each.eos) << each.config;
    EXPECT_EQ(tokenizer->add_bos(), each.add_bos) << each.config;
    EXPECT_EQ(tokenizer->add_eos(), each.add_eos) << each.config;
  }
}

TEST(TokenizerSettings, AddedTokens) {
  const auto tokenizer = load_with(R"({"eos_token": "<end>"})", R"({"<pad>": 8, "<end>": 7, "<unk>": 0})");
  EXPECT_EQ(tokenizer->eos_id(), 7);
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_EQ(tokenizer->token(8), "<pad>");
  EXPECT_EQ(tokenizer->token(0), "<unk>");
  EXPECT_EQ(tokenizer->decode({4, 7, 8}, true), "a<end><pad>");
  EXPECT_EQ(tokenizer->decode({4, 7, 8}), "a<pad>") << "only tokens with a role are special";
  EXPECT_EQ(tokenizer->encode("a<pad>").back(), 8) << "only tokens without a role are matched in text";
  EXPECT_NE(tokenizer->encode("a<end>").back(), 7);
  EXPECT_EQ(tokenizer->files().size(), 3U);
}

TEST(TokenizerSettings, Errors) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"{", {"tokenizer_config.json:1:"}},
      {"[]", {"tokenizer_config.json"}},
      {R"({"eos_token": 2})", {"eos_token: found", "expected a string"}},
      {R"({"eos_token": {"text": "a"}})", {"eos_token: found an object"}},
      {R"({"add_bos_token": "yes"})", {"add_bos_token"}},
      {R"({"added_tokens_decoder": []})", {"added_tokens_decoder: found an array"}},
      {R"({"added_tokens_decoder": {"x": {"content": "a"}}})", {"the key x", "expected an id"}},
      {R"({"added_tokens_decoder": {"7": 3}})", {"added_tokens_decoder.7"}},
      {R"({"added_tokens_decoder": {"99999999999": "a"}})", {"impossible id 99999999999"}},
  };
  for (const auto& [config, parts] : cases) {
    expect_error(ErrorKind::kModel, parts, [&, &config = config] { load_with(config); });
  }
  expect_error(ErrorKind::kModel, {"added_tokens.json", "found an array"}, [] { load_with("", "[1]"); });
  expect_error(ErrorKind::kModel, {"added_tokens.json", "<pad>"}, [] { load_with("", R"({"<pad>": "8"})"); });
  expect_error(ErrorKind::kModel, {"added_tokens.json", "impossible id -1"}, [] { load_with("", R"({"<pad>": -1})"); });
}

TEST(TokenizerSettings, FindsTheTokenizerInAFolder) {
  const test::TemporaryFolder folder;
  expect_error(ErrorKind::kModel, {"nothing at this path"}, [&] { load_tokenizer(folder / "missing"); });
  expect_error(ErrorKind::kModel, {"no tokenizer file"}, [&] { load_tokenizer(folder / ""); });
  folder.write("tokenizer_config.json", R"({"add_bos_token": false})");
  EXPECT_FALSE(load_tokenizer(folder.write("tokenizer.model", test::small_model()))->add_bos());
  EXPECT_TRUE(load_tokenizer(folder.write("other.model", test::small_model()))->add_bos());
}

// tokenizer.json takes precedence over tokenizer.model, and tokenizer_config.json applies only to a file with the usual name.
TEST(TokenizerSettings, TokenizerJsonTakesPrecedence) {
  const test::TemporaryFolder folder;
  const std::filesystem::path json = std::filesystem::path(lora::test::data_folder()) / "tokenizer_json/llama3.json";
  folder.write("tokenizer.model", test::small_model());
  EXPECT_EQ(load_tokenizer(folder.path())->vocab_size(), 7);
  std::filesystem::copy(json, folder / "tokenizer.json");
  std::filesystem::copy(json, folder / "other.json");
  folder.write("tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  EXPECT_EQ(load_tokenizer(folder.path())->eos_id(), 602);
  EXPECT_EQ(load_tokenizer(folder / "tokenizer.json")->eos_id(), 602);
  EXPECT_EQ(load_tokenizer(folder / "other.json")->eos_id(), std::nullopt);
}

}  // namespace
}  // namespace lora::tokenizer
