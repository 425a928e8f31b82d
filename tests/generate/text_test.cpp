// Text of tokens as they arrive: nothing is lost, and nothing is printed that later tokens would change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "lora/base/random.h"
#include "lora/base/text.h"
#include "lora/generate/detokenizer.h"
#include "lora/generate/eos_ids.h"
#include "lora/generate/stop_strings.h"
#include "lora/generate/text_stream.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::generate {
namespace {

using testing::ElementsAre;
using Ids = std::vector<int32_t>;

std::unique_ptr<tokenizer::Tokenizer> load(const std::string& name) {
  return tokenizer::load_tokenizer(std::filesystem::path(lora::test::data_folder()) / "tokenizer" / (name + ".model"));
}

/// The pieces that a detokenizer returns for `ids` after `prompt`; the last is the rest at the end.
std::vector<std::string> pieces_of(const tokenizer::Tokenizer& tokenizer, const Ids& prompt, const Ids& ids) {
  Detokenizer detokenizer(tokenizer, prompt);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) {
    pieces.push_back(detokenizer.push(id));
  }
  pieces.push_back(detokenizer.finish());
  return pieces;
}

/// The pieces are whole characters, and together they are the text after the prompt in the decoded whole.
void expect_text_of_the_whole(const tokenizer::Tokenizer& tokenizer, const Ids& prompt, const Ids& ids) {
  Ids whole = prompt;
  whole.insert(whole.end(), ids.begin(), ids.end());
  const std::vector<std::string> pieces = pieces_of(tokenizer, prompt, ids);
  EXPECT_EQ(tokenizer.decode(prompt) + join(pieces, ""), tokenizer.decode(whole));
  for (const std::string& piece : pieces) {
    EXPECT_EQ(invalid_utf8_at(piece), std::string::npos) << printable(piece);
  }
}

TEST(Detokenizer, EqualsDecodingAtOnceForEveryText) {
  const Json golden = read_json(std::filesystem::path(lora::test::data_folder()) / "tokenizer/golden.json", ErrorKind::kData);
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  for (const char* name : {"bpe", "unigram"}) {
    const auto tokenizer = load(name);
    const Ids prompt = tokenizer->encode("The river");
    for (const std::string& text : texts) {
      const Ids ids = tokenizer->encode(text);
      expect_text_of_the_whole(*tokenizer, {*tokenizer->bos_id()}, ids);
      expect_text_of_the_whole(*tokenizer, prompt, ids);
    }
    expect_text_of_the_whole(*tokenizer, prompt, tokenizer->encode(join(texts, " ")));  // much longer than a window
  }
}

TEST(Detokenizer, EqualsDecodingAtOnceForRandomTokens) {
  for (const char* name : {"bpe", "unigram"}) {
    const auto tokenizer = load(name);
    const auto vocabulary = static_cast<uint64_t>(tokenizer->vocab_size());
    CounterRandom random(9);
    for (int round = 0; round < 40; ++round) {
      Ids prompt{1}, ids;
      // From all tokens, or only from the byte tokens at the beginning: incomplete characters, and bytes that are not text.
      const uint64_t bound = round % 2 == 0 ? vocabulary : 256;
      for (uint64_t i = random.below(5) + 60 * (round % 3); i > 0; --i) {
        prompt.push_back(static_cast<int32_t>(261 + random.below(vocabulary - 261)));  // after special tokens and bytes
      }
      for (int i = 0; i < 150; ++i) {
        ids.push_back(static_cast<int32_t>(bound == 256 ? 3 + random.below(256) : random.below(vocabulary)));
      }
      expect_text_of_the_whole(*tokenizer, prompt, ids);
    }
  }
}

std::unique_ptr<tokenizer::Tokenizer> load_json(const std::string& kind) {
  return tokenizer::load_tokenizer(std::filesystem::path(lora::test::data_folder()) / "tokenizer_json" / (kind + ".json"));
}

TEST(Detokenizer, EqualsDecodingAtOnceForTokenizerJson) {
  const Json golden = read_json(std::filesystem::path(lora::test::data_folder()) / "tokenizer_json/texts.json", ErrorKind::kData);
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  for (const char* kind : {"gpt2", "llama2", "gemma", "unigram_bytes", "t5", "bert", "bpe_words"}) {
    SCOPED_TRACE(kind);
    const auto tokenizer = load_json(kind);
    const Ids prompt = tokenizer->encode("The river");
    for (const std::string& text : texts) {
      expect_text_of_the_whole(*tokenizer, prompt, tokenizer->encode(text));
    }
    expect_text_of_the_whole(*tokenizer, prompt, tokenizer->encode(join(texts, " ")));
  }
}

TEST(Detokenizer, HoldsBackBytesOfTokenizerJson) {
  const auto tokenizer = load_json("llama2");
  const auto byte = [](int value) { return 3 + value; };  // <0x00> follows the three special tokens
  const Ids both{byte(0xf0), byte(0x9f), byte(0x98), byte(0x80), byte(0xc3), byte(0xa9)};
  ASSERT_EQ(tokenizer->decode(both), "😀é");
  EXPECT_THAT(pieces_of(*tokenizer, {1}, both), ElementsAre("", "", "", "😀", "", "é", ""));
  // The run ends before its last character is complete: decoded at once it is U+FFFD, here the emitted character is kept.
  const Ids cut{both[0], both[1], both[2], both[3], both[4]};
  const std::string unknown = "\xef\xbf\xbd";
  EXPECT_THAT(pieces_of(*tokenizer, {1}, cut), ElementsAre("", "", "", "😀", "", unknown));
  const Ids word = tokenizer->encode("a");
  EXPECT_THAT(pieces_of(*tokenizer, {1}, {cut[0], cut[1], cut[2], cut[3], cut[4], word.back()}),
              ElementsAre("", "", "", "😀", "", unknown + tokenizer->token(word.back()), ""));
  const auto bytes = load_json("gpt2");
  std::vector<std::string> pieces = pieces_of(*bytes, bytes->encode("a"), bytes->encode("🦔"));
  ASSERT_GE(pieces.size(), 3U);
  EXPECT_EQ(pieces[pieces.size() - 2], "🦔");
  EXPECT_EQ(pieces.front(), "");
}

TEST(Detokenizer, KeepsSpacesAndHoldsBackBytes) {
  const auto tokenizer = load("bpe");
  const Ids river = tokenizer->encode("river");
  EXPECT_EQ(tokenizer->decode(river), "river");
  EXPECT_EQ(join(pieces_of(*tokenizer, tokenizer->encode("the"), river), ""), " river");
  EXPECT_EQ(join(pieces_of(*tokenizer, {*tokenizer->bos_id()}, river), ""), "river");
  const auto byte = [](int value) { return 3 + value; };  // <0x00> follows the three special tokens
  const Ids emoji{byte(0xf0), byte(0x9f), byte(0x98), byte(0x80)};
  ASSERT_EQ(tokenizer->decode(emoji), "😀");
  EXPECT_THAT(pieces_of(*tokenizer, river, emoji), ElementsAre("", "", "", "😀", ""));
  // The text ends before the character is complete.
  EXPECT_THAT(pieces_of(*tokenizer, river, {emoji[0], emoji[1]}), ElementsAre("", "", "\xef\xbf\xbd\xef\xbf\xbd"));
  // Bytes that can no longer become a character are emitted.
  EXPECT_EQ(pieces_of(*tokenizer, river, {byte(0xff), byte(0xff), byte(0xff), byte(0xff)})[3], "\xef\xbf\xbd");
}

/// The text that is passed on for each piece, and at the end.
std::vector<std::string> let_through(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings filter(stops);
  std::vector<std::string> out;
  for (const std::string& piece : pieces) {
    out.push_back(filter.push(piece));
  }
  out.push_back(filter.finish());
  return out;
}

TEST(StopStrings, TheTextEndsBeforeTheFirst) {
  EXPECT_THAT(let_through({}, {"a", "bc"}), ElementsAre("a", "bc", ""));
  EXPECT_THAT(let_through({"END"}, {"one E", "N", "X E", "ND", "two"}), ElementsAre("one ", "", "ENX ", "", "", ""));
  EXPECT_THAT(let_through({"END"}, {"one EN"}), ElementsAre("one ", "EN"));
  EXPECT_THAT(let_through({"b", "ab"}, {"xxab"}), ElementsAre("xx", ""));
  EXPECT_THAT(let_through({"\n\n", "aab"}, {"aaa", "ab"}), ElementsAre("a", "a", ""));  // "aab" at the end of "aaaab"
  EXPECT_THAT(let_through({"stop"}, {"stop"}), ElementsAre("", ""));
  StopStrings filter({"END"});
  filter.push("EN");
  EXPECT_FALSE(filter.stopped());
  filter.push("D");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("more"), "");
}

TEST(TextStream, StopsInTheMiddleOfATokensText) {
  const auto tokenizer = load("bpe");
  const Ids ids = tokenizer->encode("the river walks by the stone");
  TextStream stream(*tokenizer, {*tokenizer->bos_id()}, {"alk"});
  std::string text;
  size_t used = 0;
  while (used < ids.size() && !stream.stopped()) {
    text += stream.push(ids[used++]);
  }
  EXPECT_TRUE(stream.stopped());
  EXPECT_LT(used, ids.size());
  EXPECT_EQ(text + stream.finish(), "the river w");
}

TEST(EosIds, ComeFromTheFirstFileThatDefinesThem) {
  const test::TemporaryFolder folder;
  const Json none = Json::object(), one = Json{{"eos_token_id", 7}}, null = Json{{"eos_token_id", nullptr}};
  EXPECT_THAT(find_eos_ids(folder.path(), none, 5), ElementsAre(5));
  EXPECT_THAT(find_eos_ids(folder.path(), null, 5), ElementsAre(5));
  EXPECT_THAT(find_eos_ids(folder.path(), none, std::nullopt), ElementsAre());
  EXPECT_THAT(find_eos_ids(folder.path(), one, 5), ElementsAre(7));
  folder.write("generation_config.json", R"({"do_sample": true})");
  EXPECT_THAT(find_eos_ids(folder.path(), one, 5), ElementsAre(7));
  folder.write("generation_config.json", R"({"eos_token_id": [8, 9]})");
  EXPECT_THAT(find_eos_ids(folder.path(), one, 5), ElementsAre(8, 9));
  folder.write("generation_config.json", R"({"eos_token_id": "</s>"})");
  test::expect_error(ErrorKind::kModel, {"generation_config.json", "eos_token_id", "token id"},
                     [&] { find_eos_ids(folder.path(), one, 5); });
  test::expect_error(ErrorKind::kModel, {"config.json", "eos_token_id"}, [&folder] {
    std::filesystem::remove(folder / "generation_config.json");
    find_eos_ids(folder.path(), Json{{"eos_token_id", 1.5}}, 5);
  });
}

}  // namespace
}  // namespace lora::generate
