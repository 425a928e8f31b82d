// Greedy decoding with the cache gives the tokens of transformers and PEFT: for single prompts and in a batch.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>

#include "lora/config/command_line.h"
#include "lora/generate/generator.h"
#include "lora/models/base_model.h"
#include "lora/nn/adapters.h"
#include "lora/peft/method.h"
#include "support/completions.h"
#include "support/golden.h"
#include "support/paths.h"

namespace lora::generate {
namespace {

struct GoldenRow {
  std::vector<int32_t> prompt, output_ids;
  bool adapter;
  double repetition_penalty;
};

/// The rows of a case in tests/data/generate/greedy.json with the adapter, or without it.
std::vector<GoldenRow> golden_rows(const std::string& name, bool adapter) {
  static const Json cases = read_json(std::filesystem::path(lora::test::data_folder()) / "generate/greedy.json", ErrorKind::kData);
  std::vector<GoldenRow> rows;
  for (const Json& row : cases[name]) {
    if (row["adapter"] == adapter) {
      rows.push_back({row["prompt"], row["output_ids"], row["adapter"], row["repetition_penalty"]});
    }
  }
  return rows;
}

models::BaseModel load_case(const test::Golden& golden) {
  models::ModelOptions options;
  options.path = golden.folder / "model";
  options.device = "cpu";
  options.dtype = models::ComputeDtype::kFloat32;
  return models::load_base_model(options, 0);
}

GenerationOptions greedy_options(double repetition_penalty) {
  GenerationOptions options;
  options.max_new_tokens = 64;
  options.repetition_penalty = repetition_penalty;
  return options;
}

class Greedy : public testing::TestWithParam<std::string> {};

TEST_P(Greedy, EqualsTransformersAloneAndInABatch) {
  const test::Golden golden(GetParam());
  const models::BaseModel base = load_case(golden);
  const auto method = peft::attach_adapter(config::read_adapter_folder(golden.folder / "adapter"), *base.model, "base", 0, "mine");
  for (const bool adapter : {false, true}) {
    nn::use_adapter(*base.model, adapter ? "mine" : "");
    std::map<double, std::vector<GoldenRow>> by_penalty;
    for (const GoldenRow& row : golden_rows(golden.name, adapter)) {
      ASSERT_GE(row.output_ids.size(), 64U);
      const auto alone = test::complete(*base.model, greedy_options(row.repetition_penalty), {row.prompt});
      EXPECT_EQ(alone[0].ids, row.output_ids) << golden.name << ", prompt of " << row.prompt.size() << ", adapter " << adapter;
      EXPECT_EQ(alone[0].reason, FinishReason::kLength);
      by_penalty[row.repetition_penalty].push_back(row);
    }
    for (const auto& [penalty, rows] : by_penalty) {
      std::vector<std::vector<int32_t>> prompts;
      for (const GoldenRow& row : rows) {
        prompts.push_back(row.prompt);
      }
      prompts.push_back({3});  // so that no batch has only one prompt
      const auto together = test::complete(*base.model, greedy_options(penalty), prompts);
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(together[i].ids, rows[i].output_ids) << golden.name << " in a batch, prompt of " << rows[i].prompt.size();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Llama, Greedy, testing::Values("gqa", "tied", "llama3", "biases", "odd", "linear", "dynamic", "yarn"),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Families, Greedy, testing::ValuesIn(test::kFamilyCases), [](const auto& info) { return info.param; });

TEST(Greedy, TheCacheGivesTheLogitsOfTheWholeText) {
  // Without a cache the whole text goes through the model for each token. Not for dynamic RoPE and LongRoPE, where the frequencies of a
  // key depend on the length at which it was computed.
  for (const char* name : {"gqa", "yarn", "mistral", "gemma2", "gemma3_text", "smollm3"}) {
    const test::Golden golden(name);
    const models::BaseModel base = load_case(golden);
    const GoldenRow row = golden_rows(name, false).front();
    std::vector<int32_t> text = row.prompt;
    text.insert(text.end(), row.output_ids.begin(), row.output_ids.end());
    const at::NoGradGuard no_grad;
    const nn::Batch batch = test::batch_of({{text, {}, 0}});
    const nn::Pass pass = nn::evaluation_pass(batch);
    const at::Tensor likeliest = base.model->tokens->logits(base.model->body->hidden(pass), pass).argmax(-1);
    for (size_t i = 0; i < row.output_ids.size(); ++i) {
      EXPECT_EQ(likeliest[static_cast<int64_t>(row.prompt.size() + i) - 1].item<int64_t>(), row.output_ids[i]) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace lora::generate
