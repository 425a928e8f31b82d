// A damaged or unknown tokenizer.json causes a model Error that names the position.
#include <gtest/gtest.h>

#include <functional>

#include "json_folder.h"
#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/base/random.h"
#include "lora/base/text.h"
#include "lora/tokenizer/tokenizer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::tokenizer {
namespace {

using test::expect_error;
using test::kJsonFolder;

/// A valid file with a few tokens.
Json small() {
  return Json::parse(R"({
    "version": "1.0", "truncation": {"max_length": 1}, "padding": {"strategy": "BatchLongest"},
    "added_tokens": [{"id": 4, "content": "<s>", "special": true}],
    "normalizer": null, "pre_tokenizer": null, "decoder": {"type": "Fuse"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<unk>": 3}, "merges": ["a b"], "unk_token": "<unk>"}})");
}

Json unigram() {
  return Json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1.5]]})");
}

std::unique_ptr<Tokenizer> load(const Json& file, const std::string& config = "") {
  const test::TemporaryFolder folder;
  folder.write("tokenizer.json", file.dump());
  if (!config.empty()) {
    folder.write("tokenizer_config.json", config);
  }
  return load_tokenizer(folder.path());
}

struct Damage {
  const char* path;  ///< a JSON pointer
  const char* value;
  std::vector<std::string> parts;
};

TEST(TokenizerJsonErrors, Table) {
  const std::vector<Damage> cases{
      {"/model", "null", {"tokenizer.json: model]", "found null"}},
      {"/model/type", R"("BPW")", {"'BPW' is unknown", "did you mean 'BPE'", "Unigram, WordPiece"}},
      {"/model/vocab", "[]", {"model.vocab]", "expected an object that maps tokens to ids"}},
      {"/model/vocab/b", "0", {"two tokens have the id 0"}},
      {"/model/vocab/b", "-1", {"impossible id -1"}},
      {"/model/vocab/b", "99999999999", {"impossible id 99999999999"}},
      {"/model/vocab/b", "1.5", {"expected an id"}},
      {"/model/merges", "{}", {"model.merges]", "expected an array"}},
      {"/model/merges/0", R"("a c")", {"model.merges[0]]", "the token c is not in the vocabulary"}},
      {"/model/merges/0", R"(["b", "a"])", {"the token ba is not"}},
      {"/model/merges/0", R"("a b c")", {"expected two tokens"}},
      {"/model/merges/0", R"(["a"])", {"expected two tokens"}},
      {"/model/dropout", "0.1", {"model: dropout]", "never random"}},
      {"/model/continuing_subword_prefix", R"("###")", {"shorter than continuing_subword_prefix"}},
      {"/model", R"({"type": "Unigram", "vocab": [["a", "b"]]})", {"model.vocab[0]", "expected [token, score]"}},
      {"/model", R"({"type": "Unigram", "vocab": [["a", 1]], "unk_id": 1})", {"unk_id", "0 to 0"}},
      {"/model",
       R"({"type": "WordPiece", "vocab": {}, "unk_token": "u", "continuing_subword_prefix": "##"})",
       {"max_input_chars_per_word"}},
      {"/model", R"({"type": "WordLevel", "vocab": {}})", {"unk_token", "is missing"}},
      {"/added_tokens", "{}", {"added_tokens]", "expected an array"}},
      {"/added_tokens/0/content", "3", {"added_tokens[0]: content", "expected a string"}},
      {"/added_tokens/0/id", R"("x")", {"added_tokens[0]: id", "expected an integer"}},
      {"/normalizer", R"({"type": "NFX"})", {"tokenizer.json: normalizer]", "'NFX' is unknown", "NFKC"}},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Up"}]})", {"normalizer.normalizers[1]]", "'Up'"}},
      {"/normalizer", R"({"type": "Sequence", "normalizers": {}})", {"normalizer: normalizers]", "an array"}},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})", {"normalizer.pattern]", "'(' is never closed"}},
      {"/normalizer", R"({"type": "Replace", "pattern": {"String": ""}, "content": ""})", {"pattern.String]", "non-empty"}},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "!"})", {"precompiled_charsmap]", "not valid base64"}},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AAAA"})", {"precompiled_charsmap]", "damaged"}},
      {"/pre_tokenizer", R"({"type": "Splitt"})", {"pre_tokenizer]", "did you mean 'Split'"}},
      {"/pre_tokenizer",
       R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Cut", "invert": false})",
       {"behavior", "Isolated or"}},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})", {"replacement", "one character"}},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})", {"always, first or never"}},
      {"/pre_tokenizer", R"({"type": "ByteLevel"})", {"add_prefix_space", "is missing"}},
      {"/decoder", R"({"type": "CTD"})", {"decoder]", "'CTD' is unknown", "WordPiece"}},
      {"/decoder", R"({"type": "Strip", "content": "", "start": 0, "stop": 0})", {"content", "one character"}},
      {"/post_processor/type", R"("Template")", {"post_processor]", "known: TemplateProcessing"}},
      {"/post_processor/special_tokens", "{}", {"special token <s>", "does not define"}},
      {"/post_processor/special_tokens/<s>/ids/0", "77", {"post_processor]", "the id 77", "no token has"}},
      {"/post_processor/single/1/Sequence/id", R"("B")", {"single[1]: Sequence]", "the only one of a single text"}},
      {"/post_processor", R"({"type": "BertProcessing", "sep": ["x", 1], "cls": ["y"]})", {"cls", "[token, id]"}},
  };
  for (const Damage& damage : cases) {
    SCOPED_TRACE(std::string(damage.path) + " = " + damage.value);
    Json file = small();
    file[Json::json_pointer(damage.path)] = Json::parse(damage.value);
    expect_error(ErrorKind::kModel, damage.parts, [&] { load(file); });
  }
  EXPECT_EQ(load(small())->encode_with_specials("ab<s>ca", true), (std::vector<int32_t>{4, 2, 4, 3, 0}));  // truncation is ignored
}

TEST(TokenizerJsonErrors, TextsThatNeedAMissingToken) {
  Json file = small();
  file["model"]["unk_token"] = "<none>";
  const auto bpe = load(file);
  EXPECT_EQ(bpe->encode("ab"), std::vector<int32_t>{2});
  expect_error(ErrorKind::kModel, {"unknown token <none>"}, [&] { bpe->encode("c"); });
  file["model"]["unk_token"] = nullptr;
  EXPECT_EQ(load(file)->encode("acb"), std::vector<int32_t>{2});  // text without a token is dropped, as in `tokenizers`
  file["model"] = unigram();
  file["added_tokens"] = Json::array();
  file["post_processor"] = nullptr;
  file["model"]["unk_id"] = nullptr;
  const auto without = load(file);
  expect_error(ErrorKind::kModel, {"unk_id]", "needs an unknown token"}, [&] { without->encode("b"); });
  file["model"] = Json::parse(R"({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"})");
  const auto words = load(file);
  expect_error(ErrorKind::kModel, {"unknown token ?"}, [&] { words->encode("b"); });
}

TEST(TokenizerJsonErrors, SettingsInOtherFiles) {
  const auto named = load(small(), R"({"bos_token": "<s>", "eos_token": {"content": "ab"}, "pad_token": "<pad>", "add_bos_token": false})");
  EXPECT_EQ(named->bos_id(), 4);
  EXPECT_EQ(named->eos_id(), 2);
  EXPECT_TRUE(named->add_bos());  // the post_processor decides
  EXPECT_FALSE(named->add_eos());
  EXPECT_EQ(named->decode({0, 2, 4}), "a");  // a token with a role is special
  EXPECT_EQ(named->vocab_size(), 5);         // <pad>, which the tokenizer lacks, is not added
  EXPECT_EQ(named->files().size(), 2U);
  const auto added = load(small(), R"({"added_tokens_decoder": {"6": {"content": "y"}, "5": {"content": "x", "rstrip": true}}})");
  EXPECT_EQ(added->encode("ax  yb"), (std::vector<int32_t>{0, 5, 6, 1}));
  EXPECT_EQ(load(small(), R"({"eos_token": "</s>"})")->eos_id(), 5);  // a new token, as in transformers
  expect_error(ErrorKind::kModel, {"eos_token: found an integer"}, [] { load(small(), R"({"eos_token": 3})"); });
  expect_error(ErrorKind::kModel, {"the key x"}, [] { load(small(), R"({"added_tokens_decoder": {"x": {"content": "a"}}})"); });

  const test::TemporaryFolder folder;
  folder.write("tokenizer.json", small().dump());
  folder.write("config.json", R"({"bos_token_id": 0, "eos_token_id": [1, 2]})");
  EXPECT_EQ(load_tokenizer(folder.path())->eos_id(), 1);
  EXPECT_EQ(load_tokenizer(folder.path())->bos_id(), 4);  // the token that precedes a text
  folder.write("config.json", R"({"eos_token_id": 9999})");
  EXPECT_EQ(load_tokenizer(folder.path())->eos_id(), std::nullopt);
}

TEST(TokenizerJsonErrors, TruncatedAndFlippedFilesNeverCrash) {
  const test::TemporaryFolder folder;
  CounterRandom random(3);
  int refused = 0;
  for (const char* kind : {"llama3", "phi3", "albert", "bert_cased", "bpe_words"}) {
    const std::string good = read_file(kJsonFolder / (std::string(kind) + ".json"), ErrorKind::kModel);
    for (int round = 0; round < 25; ++round) {
      std::string bad = good;
      if (round % 5 == 0) {
        bad.resize(random.below(good.size()));
      }
      for (uint64_t flips = 1 + random.below(3); flips > 0 && !bad.empty(); --flips) {
        bad[random.below(bad.size())] = static_cast<char>(round % 2 == 0 ? random.next() : "0123456789[]{}\",:aZ"[random.below(19)]);
      }
      try {
        const auto tokenizer = load_tokenizer(folder.write("x.json", bad));
        for (const char* text : {"", "a b ab", "<|user|>  river", "ab\xf0\x9f\x98\x80", "\xef\xac\x81 \xc2\xbd"}) {
          tokenizer->decode(tokenizer->encode_with_specials(text, true), true);
        }
      } catch (const Error& error) {
        ++refused;
        EXPECT_EQ(error.kind(), ErrorKind::kModel) << error.what();
        EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
      }
    }
  }
  EXPECT_GT(refused, 40);
}

}  // namespace
}  // namespace lora::tokenizer
