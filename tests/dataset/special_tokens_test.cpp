// Rows with the text of special tokens have the ids and labels of TRL's SFTTrainer (scripts/golden/trl_texts.py).
#include <gtest/gtest.h>

#include "ids.h"
#include "lora/base/json.h"
#include "lora/data/dataset.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

namespace fs = std::filesystem;
using test::Ids;
using test::kData;

void expect_rows(const Json& rows, RowFormat format, const tokenizer::Tokenizer& tokenizer) {
  const test::TemporaryFolder folder;
  std::string lines;
  for (const Json& each : rows) {
    lines += each["row"].dump() + "\n";
  }
  SourceOptions source;
  source.path = folder.write("rows.jsonl", lines);
  source.format = format;
  const Dataset dataset = load_dataset("data.train", {source}, {}, {&tokenizer, tokenizer.vocab_size()});
  ASSERT_EQ(dataset.examples.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(dataset.examples[i].ids(), rows[i]["ids"].get<Ids>()) << rows[i]["row"];
    EXPECT_EQ(dataset.examples[i].labels(), rows[i]["labels"].get<Ids>()) << rows[i]["row"];
  }
}

TEST(SpecialTokens, RowsEqualTrl) {
  const Json golden = read_json(kData / "special_tokens/trl.json", ErrorKind::kData);
  ASSERT_EQ(golden["tokenizers"].size(), 2U);
  for (const Json& each : golden["tokenizers"]) {
    const test::TemporaryFolder folder;
    fs::copy_file(kData / "tokenizer_json" / (each["kind"].get<std::string>() + ".json"), folder / "tokenizer.json");
    folder.write("tokenizer_config.json", each["settings"].dump());
    const auto tokenizer = tokenizer::load_tokenizer(folder.path());
    expect_rows(each["text"], RowFormat::kText, *tokenizer);
    expect_rows(each["prompt_completion"], RowFormat::kPromptCompletion, *tokenizer);
  }
}

}  // namespace
}  // namespace lora::data
