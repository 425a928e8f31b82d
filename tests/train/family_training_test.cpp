// LoRA training of the families whose case is in config_keys (scripts/golden/config_keys.py), compared with transformers + PEFT. No file
// holds their weights: they are a formula of name and shape.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/io/tensors.h"
#include "support/formula_weights.h"
#include "support/golden_run.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

/// The script's `documents`.
std::string formula_rows() {
  std::vector<int> twice = test::kFormulaDocument;
  twice.insert(twice.end(), test::kFormulaDocument.begin(), test::kFormulaDocument.end());
  std::string rows;
  for (int i = 0; i < 11; ++i) {
    const auto begin = twice.begin() + 5 * i % 24;
    rows += Json{{"input_ids", std::vector<int>(begin, begin + 3 + 7 * i % 20)}}.dump() + "\n";
  }
  return rows;
}

/// run.json, with the settings of the script.
Json formula_run(Json training) {
  training.update({{"logging_steps", 1}, {"per_device_eval_batch_size", 2}});
  const Json rows = Json::array({{{"path", "rows.jsonl"}, {"format", "tokens"}}});
  return {{"model", {{"path", "model"}, {"dtype", "float32"}, {"device", "cpu"}}},
          {"adapter", {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 3}, {"lora_dropout", 0.0}, {"target_modules", "all-linear"}}},
          {"data", {{"train", rows}, {"eval", rows}, {"shuffle", false}, {"packing", false}}},
          {"training", training},
          {"output_dir", "out"}};
}

/// Layers that are recomputed in backward give the same gradients.
void expect_same_gradients_recomputed(test::GoldenRun& run) {
  std::vector<at::Tensor> expected;
  for (const nn::Recompute recompute : {nn::Recompute::kNothing, nn::Recompute::kFeedForward, nn::Recompute::kLayers}) {
    run.execution.recompute = recompute;
    run.loss_sum(run.plan->micro_batches(0).front(), 0).backward();
    size_t i = 0;
    for (const nn::Parameter& parameter : run.parameters()) {
      const at::Tensor gradient = parameter.tensor.grad().clone();
      parameter.tensor.mutable_grad().reset();
      if (recompute == nn::Recompute::kNothing) {
        expected.push_back(gradient);
      } else {
        test::expect_equal(gradient, expected[i++], parameter.name);
      }
    }
  }
  run.execution.recompute = nn::Recompute::kNothing;
}

class FamilyTraining : public testing::TestWithParam<std::string> {};

TEST_P(FamilyTraining, EveryStepEqualsTransformersAndPeft) {
  const Json expected = test::formula_case(GetParam());
  const Json& training = expected["training"];
  const test::TemporaryFolder folder;
  test::write_formula_model(folder / "model", expected["config"], expected["tensors"]);
  folder.write("rows.jsonl", formula_rows());
  folder.write("run.json", formula_run(training["run"]).dump());
  test::GoldenRun run(folder.path());
  {
    const at::NoGradGuard no_grad;
    for (const nn::Parameter& parameter : run.parameters()) {
      parameter.tensor.copy_(test::formula_weight(run.key_of(parameter), parameter.tensor.sizes().vec()));
    }
  }
  EXPECT_EQ(run.parameters().size(), training["num_trained"].get<size_t>());
  expect_same_gradients_recomputed(run);

  test::CollectingSink steps;
  LoggingHook logging(1, {&steps}, [] { return int64_t{0}; });
  TrainerState state;
  run.run(state, {&logging});
  ASSERT_EQ(steps.rows.size(), training["loss"].size());
  for (size_t i = 0; i < steps.rows.size(); ++i) {
    const double loss = training["loss"][i].get<double>(), norm = training["grad_norm"][i].get<double>();
    EXPECT_NEAR(steps.rows[i]["loss"].get<double>(), loss, 1e-5 * loss) << "step " << i + 1;
    EXPECT_NEAR(steps.rows[i]["grad_norm"].get<double>(), norm, 2e-4 * norm) << "step " << i + 1;
  }
  size_t compared = 0;
  for (const nn::Parameter& parameter : run.parameters()) {
    if (training["trained"].contains(run.key_of(parameter))) {
      const auto values = training["trained"][run.key_of(parameter)].get<std::vector<float>>();
      test::expect_near(parameter.tensor, at::tensor(values).view(parameter.tensor.sizes()), 1e-5, parameter.name);
      ++compared;
    }
  }
  EXPECT_EQ(compared, training["trained"].size());
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyTraining,
                         testing::Values("apertus", "arcee", "exaone4", "granite", "helium", "hunyuan_v1_dense", "internlm3", "ministral",
                                         "ministral3", "nemotron", "olmo3", "phi", "seed_oss", "starcoder2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lora::train
