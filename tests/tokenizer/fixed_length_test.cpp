#include "lora/tokenizer/fixed_length.h"

#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::tokenizer {
namespace {

namespace fs = std::filesystem;

fs::path clip_folder(const std::string& family) {
  return lora::test::kData / "diffusion" / family / "model" / "tokenizer";
}

/// Of two padded tokenizers, the second with "!" as its pad token (scripts/golden/diffusion_single_files.py).
TEST(FixedLength, ClipEncodesTextsAsTransformersDoes) {
  const Json rows = read_json(lora::test::kData / "diffusion" / "texts.json", ErrorKind::kData);
  for (const std::string family : {"sd1", "sd2"}) {
    const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(clip_folder(family));
    ASSERT_GT(rows.size(), 20u);
    for (const Json& row : rows) {
      const std::string text = row.at("text");
      const FixedLengthIds found = encode_to_length(*tokenizer, text, 77);
      EXPECT_EQ(found.ids, row.at(family).get<std::vector<int32_t>>()) << family << ": " << text;
      EXPECT_EQ(found.num_cut, row.at(family + "_cut").get<int64_t>()) << family << ": " << text;
    }
  }
}

TEST(FixedLength, RefusesATokenizerWithoutAPadTokenAndTextThatIsNotUtf8) {
  const lora::test::TemporaryFolder folder;
  fs::copy(clip_folder("sd1"), folder.path(), fs::copy_options::recursive);
  EXPECT_EQ(encode_to_length(*load_tokenizer(folder.path()), "a", 3).ids.size(), 3u);
  EXPECT_EQ(encode_to_length(*load_tokenizer(folder.path()), "a b", 3).num_cut, 1);
  lora::test::expect_error(ErrorKind::kData, {"UTF-8"}, [&] { encode_to_length(*load_tokenizer(folder.path()), "\xff", 3); });
  for (const char* const name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    Json config = read_json(folder / name, ErrorKind::kData);
    config["pad_token"] = nullptr;
    folder.write(name, config.dump());
  }
  lora::test::expect_error(ErrorKind::kModel, {"has no pad_token"}, [&] { encode_to_length(*load_tokenizer(folder.path()), "a", 3); });
}

}  // namespace
}  // namespace lora::tokenizer
