// Every key of a tokenizer's files: folders load as with transformers' AutoTokenizer (scripts/golden/tokenizer_keys.py), and no key that
// transformers reads is unknown here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/tokenizer/tokenizer.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "tokenizer/known_keys.h"

namespace lora::tokenizer {
namespace {

namespace fs = std::filesystem;
using test::kData;
using Ids = std::vector<int32_t>;
using testing::HasSubstr;
using testing::Not;

std::optional<int32_t> id_or_none(const Json& id) {
  return id.is_null() ? std::nullopt : std::optional(id.get<int32_t>());
}

/// Writes the model of a tokenizer.json as the separate files of older folders.
void write_vocabulary(const Json& model, const test::TemporaryFolder& folder) {
  std::string lines;
  if (model["type"] == "WordPiece") {
    std::map<int64_t, std::string> tokens;
    for (const auto& [token, id] : model["vocab"].items()) {
      tokens[id.get<int64_t>()] = token;
    }
    for (const auto& [id, token] : tokens) {
      lines += token + "\n";
    }
    folder.write("vocab.txt", lines);
    return;
  }
  for (const Json& merge : model["merges"]) {
    lines += (merge.is_string() ? merge.get<std::string>() : merge[0].get<std::string>() + " " + merge[1].get<std::string>()) + "\n";
  }
  folder.write("vocab.json", model["vocab"].dump());
  folder.write("merges.txt", "#version: 0.2\n" + lines);
}

/// Writes the file with 100,000 more tokens, none of which occurs in a text.
void write_large(const fs::path& source, const test::TemporaryFolder& folder) {
  Json file = read_json(source, ErrorKind::kData);
  nlohmann::json vocab = file["model"]["vocab"];  // not ordered_json, which would search all its entries for each key
  for (const Json& token : file["added_tokens"]) {
    vocab[token["content"].get<std::string>()] = token["id"].get<int64_t>();  // they keep their ids
  }
  const size_t begin = vocab.size();
  for (size_t i = 0; i < 100'000; ++i) {
    vocab["\x01" + std::to_string(i)] = begin + i;
  }
  file["model"]["vocab"] = nullptr;
  std::string text = file.dump();
  text.replace(text.find("\"vocab\":null") + 8, 4, vocab.dump());
  folder.write("tokenizer.json", text);
}

/// Writes the folder of a case: its vocabulary under the usual name and the other files.
void write_folder(const Json& each, const test::TemporaryFolder& folder) {
  const auto parts = split(each["vocabulary"].get<std::string>(), ' ');
  const std::string& vocabulary = parts.front();
  const bool is_model = vocabulary.ends_with(".model");
  const fs::path source = kData / (is_model ? "tokenizer" : "tokenizer_json") / vocabulary;
  if (parts.size() > 1 && parts[1] == "large") {
    write_large(source, folder);
  } else if (parts.size() > 1) {
    write_vocabulary(read_json(source, ErrorKind::kData)["model"], folder);
  } else {
    fs::copy_file(source, folder / (is_model ? "tokenizer.model" : "tokenizer.json"));
  }
  folder.write("config.json", R"({"model_type": "llama"})");
  for (const auto& [name, content] : each["files"].items()) {
    if (name == "tokenizer.json") {
      Json file = read_json(source, ErrorKind::kData);
      file.update(content);
      folder.write(name, file.dump());
    } else {
      folder.write(name, content.dump());
    }
  }
}

void expect_case(const Json& each, const std::vector<std::string>& texts) {
  const test::TemporaryFolder folder;
  write_folder(each, folder);
  const auto tokenizer = load_tokenizer(folder.path());
  for (size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(shown(Json(texts[i])));
    const Ids ids = each["ids"][i].get<Ids>();
    EXPECT_EQ(tokenizer->encode_with_specials(texts[i], true), ids);
    EXPECT_EQ(tokenizer->encode_with_specials(texts[i], false), tokenizer->encode_with_spans(texts[i]).ids);
    EXPECT_EQ(tokenizer->encode(texts[i]), each["plain"][i].is_null() ? ids : each["plain"][i].get<Ids>());
    if (!each["vocabulary"].get<std::string>().ends_with(".model")) {
      EXPECT_EQ(tokenizer->decode(ids, true), each["text"][i].is_null() ? texts[i] : each["text"][i].get<std::string>());
    }
  }
  const auto named = tokenizer->named_tokens();
  for (const auto& [role, token] : each["named"].items()) {
    EXPECT_EQ(named.contains(role) ? Json(named.at(role)) : Json(), token) << role;
  }
  if (!each["bos"].is_null() && !tokenizer->add_bos()) {  // where a class has cls and sep, the post-processor's first token counts
    EXPECT_EQ(tokenizer->bos_id(), id_or_none(each["bos"]));
  }
  if (!tokenizer->add_eos() && !(each["eos"].is_null() && each["files"].contains("config.json"))) {
    EXPECT_EQ(tokenizer->eos_id(), id_or_none(each["eos"]));
  }
}

class TokenizerKeys : public testing::TestWithParam<int> {};

TEST_P(TokenizerKeys, LoadAsWithAutoTokenizer) {
  const Json golden = read_json(kData / "tokenizer_keys/cases.json", ErrorKind::kData);
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  ASSERT_GE(golden["cases"].size(), 100U);
  for (size_t i = GetParam(); i < golden["cases"].size(); i += 2) {
    SCOPED_TRACE(golden["cases"][i]["name"].get<std::string>());
    expect_case(golden["cases"][i], texts);
  }
}
INSTANTIATE_TEST_SUITE_P(Halves, TokenizerKeys, testing::Values(0, 1));

TEST(TokenizerKeyUse, EveryKeyOfTransformersIsKnown) {
  const Json keys = read_json(kData / "tokenizer_keys/keys.json", ErrorKind::kData);
  ASSERT_GE(keys["tokenizer_config.json"].size(), 100U);
  for (const Json& key : keys["tokenizer_config.json"]) {
    EXPECT_TRUE(key_use("tokenizer_config.json", key)) << key;
  }
  ASSERT_GE(keys["tokenizer.json"].size(), 60U);
  for (const Json& key : keys["tokenizer.json"]) {
    const std::string text = key;
    EXPECT_TRUE(component_key_use(text.substr(0, text.find(':')), text.substr(text.find(':') + 1))) << key;
  }
  EXPECT_EQ(key_use("tokenizer_config.json", "eos_token"), KeyUse::kHonoured);
  EXPECT_EQ(key_use("special_tokens_map.json", "do_lower_case"), std::nullopt);
}

TEST(TokenizerKeyUse, UnknownKeysCauseOneWarning) {
  const auto said_of = [](const char* vocabulary, const std::vector<std::pair<const char*, Json>>& files) {
    const test::TemporaryFolder folder;
    Json each{{"vocabulary", vocabulary}, {"files", Json::object()}};
    for (const auto& [name, content] : files) {
      each["files"][name] = content;
    }
    write_folder(each, folder);
    testing::internal::CaptureStderr();
    load_tokenizer(folder.path());
    return testing::internal::GetCapturedStderr();
  };
  const Json quiet{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"model_max_length", 7}, {"image_token", "<s>"}};
  EXPECT_EQ(said_of("llama3.json", {{"tokenizer_config.json", quiet}}), "");
  EXPECT_THAT(said_of("llama3.json", {{"tokenizer_config.json", {{"reverse_text", true}}}}),
              HasSubstr("tokenizer_config.json] a key is not known here and not used: reverse_text\n"));
  EXPECT_THAT(said_of("llama3.json", {{"tokenizer_config.json", {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}}}}), HasSubstr("a, b, … (2 more)"));
  EXPECT_THAT(said_of("llama3.json", {{"special_tokens_map.json", {{"odd", "x"}}}}), HasSubstr("special_tokens_map.json] a key is not"));
  EXPECT_THAT(
      said_of("gpt2.json", {{"tokenizer.json", {{"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"odd", 1}}}}}}),
      HasSubstr("tokenizer.json] a key is not known here and not used: ByteLevel.odd"));
  // Keys and classes that are known but cannot be followed.
  EXPECT_THAT(said_of("llama3.json", {{"tokenizer_config.json", {{"fix_mistral_regex", true}}}}),
              HasSubstr("fix_mistral_regex has no effect, as in transformers"));
  EXPECT_THAT(said_of("llama3.json", {{"tokenizer_config.json", {{"auto_map", {{"AutoTokenizer", {"a.B", nullptr}}}}}}}),
              HasSubstr("auto_map names Python code"));
  EXPECT_THAT(said_of("xlmr.json", {{"tokenizer_config.json", {{"tokenizer_class", "ReformerTokenizer"}}}}),
              HasSubstr("whose class ReformerTokenizer takes only the vocabulary and builds its own normalizer"));
  EXPECT_THAT(said_of("xlmr.json", {{"tokenizer_config.json", {{"tokenizer_class", "BertJapaneseTokenizer"}}}}),
              HasSubstr("whose class BertJapaneseTokenizer is implemented in Python"));
  EXPECT_THAT(said_of("gpt2.json", {{"tokenizer_config.json", {{"tokenizer_class", "BertTokenizer"}}}}),
              HasSubstr("needs a model of type WordPiece"));
  EXPECT_THAT(said_of("smollm.json", {{"tokenizer_config.json", {{"tokenizer_class", "GPT2Tokenizer"}}}}),
              HasSubstr("pre_tokenizer: as transformers' class GPT2Tokenizer builds it"));
  EXPECT_THAT(said_of("gpt2.json", {{"tokenizer_config.json", {{"tokenizer_class", "GPT2Tokenizer"}}}}), Not(HasSubstr("GPT2Tokenizer")));
  EXPECT_THAT(said_of("bert.json", {{"tokenizer_config.json", {{"do_lower_case", false}}}}),
              HasSubstr("do_lower_case is false in tokenizer_config.json and true in this file, which counts"));
  EXPECT_THAT(said_of("gpt2.json", {{"tokenizer_config.json", {{"add_prefix_space", true}}}}), HasSubstr("add_prefix_space is true"));
  EXPECT_THAT(said_of("llama3.json", {{"tokenizer_config.json", {{"add_eos_token", true}}}}),
              HasSubstr("add_eos_token is true in tokenizer_config.json and not followed: the post_processor decides"));
  EXPECT_EQ(said_of("llama3.json", {{"tokenizer_config.json", {{"add_bos_token", true}, {"add_eos_token", false}}}}), "");
  EXPECT_THAT(said_of("llama3.json", {{"tokenizer_config.json", {{"eos_token", "<new>"}}}}),
              HasSubstr("the eos_token <new> is not a token of the file: it becomes a new token, 603"));
}

}  // namespace
}  // namespace lora::tokenizer
