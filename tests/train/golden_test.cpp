#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "golden_checks.h"
#include "lora/nn/adapters.h"
#include "support/expect_error.h"
#include "support/golden_run.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

using test::expect_close;
using test::expect_near;
using test::GoldenRun;

class GoldenTraining : public testing::TestWithParam<std::string> {};

/// Logits of a model's head, whichever kind it has.
at::Tensor logits_of(nn::Model& model, const nn::Pass& pass) {
  return model.documents == nullptr ? model.tokens->logits(model.body->hidden(pass), pass)
                                    : model.documents->scores(*model.body, pass).squeeze(0);
}

TEST_P(GoldenTraining, StartsWhereTransformersAndPeftStart) {
  GoldenRun run(GetParam());
  const io::SafetensorsFile expected = run.golden.tensors();
  const Json documents = run.golden.expected();
  {
    const at::NoGradGuard no_grad;
    const nn::Batch first = data::make_batch(run.train_set, {0});
    const nn::Pass pass = nn::evaluation_pass(first).with_virtual_tokens(run.model().body->virtual_tokens());
    const std::string prefix = run.config.adapter ? "adapted" : "base";
    expect_close(run.model().body->hidden(pass), expected.tensor(run.golden.last_hidden(prefix)), 1e-5);
    expect_close(logits_of(run.model(), pass), expected.tensor(prefix + ".logits"), 1e-5, "logits");
  }
  expect_document_losses(run, documents["start_documents"], "start loss");
  nn::use_adapter(run.model(), "");
  if (run.labels && run.config.adapter) {
    return;  // the bare model's head is random
  }
  expect_document_losses(run, documents.contains("base_documents") ? documents["base_documents"] : documents["start_documents"],
                         "base loss");
}

/// Softmax is invariant to a bias of the keys: its gradient is only rounding, and so is an optimiser's update of it.
bool is_unseen(const nn::Parameter& parameter) {
  return parameter.name.ends_with(".self.key.bias");
}

TEST_P(GoldenTraining, GradientsOfTheFirstStepEqualPefts) {
  GoldenRun run(GetParam());
  int64_t count = 0;
  const std::vector<MicroBatch> batches = run.plan->micro_batches(0);
  for (const MicroBatch& batch : batches) {
    count += run.objective->size(batch).supervised;
  }
  for (const MicroBatch& batch : batches) {
    (run.loss_sum(batch, 0) / static_cast<double>(count)).backward();
  }
  const io::SafetensorsFile expected = run.golden.tensors();
  int64_t gradients = 0;
  for (const std::string& name : expected.names()) {
    gradients += name.starts_with("grad.") ? 1 : 0;
  }
  EXPECT_EQ(static_cast<int64_t>(run.parameters().size()), gradients);
  for (const nn::Parameter& parameter : run.parameters()) {
    const at::Tensor expected_gradient = expected.tensor("grad." + run.key_of(parameter));
    if (is_unseen(parameter)) {
      expect_near(parameter.tensor.grad(), at::zeros_like(expected_gradient), 1e-6, parameter.name);
      expect_near(expected_gradient, at::zeros_like(expected_gradient), 1e-6, parameter.name);
    } else {
      expect_close(parameter.tensor.grad(), expected_gradient, 2e-5, parameter.name);  // rounding alone causes 1.1e-5 on some processors
    }
  }
}

/// The trained tensors' gradients of one micro-batch.
std::vector<at::Tensor> gradients_with(GoldenRun& run, nn::Recompute recompute) {
  std::vector<at::Tensor> gradients;
  for (const nn::Parameter& parameter : run.parameters()) {
    parameter.tensor.mutable_grad().reset();
  }
  run.execution.recompute = recompute;
  run.loss_sum(run.plan->micro_batches(0).front(), 0).backward();
  for (const nn::Parameter& parameter : run.parameters()) {
    gradients.push_back(parameter.tensor.grad().clone());
  }
  return gradients;
}

TEST(Recomputed, LayersOfEveryFamilyGiveTheSameGradients) {
  std::vector<std::string> names = test::kFamilyCases;
  names.insert(names.end(), test::kClassificationCases.begin(), test::kClassificationCases.end());
  for (const std::string& name : names) {
    GoldenRun run(name);
    const std::vector<at::Tensor> expected = gradients_with(run, nn::Recompute::kNothing);
    for (const nn::Recompute recompute : {nn::Recompute::kFeedForward, nn::Recompute::kLayers, nn::Recompute::kOffload}) {
      const std::vector<at::Tensor> found = gradients_with(run, recompute);
      for (size_t i = 0; i < found.size(); ++i) {
        test::expect_equal(found[i], expected[i], name + " " + run.parameters()[i].name);
      }
    }
    const auto estimate = [&run](nn::Recompute recompute) {
      const nn::PassMemory memory = run.model().body->pass_memory(recompute);
      return memory.kept + memory.tail + memory.working;
    };
    EXPECT_GT(estimate(nn::Recompute::kNothing), estimate(nn::Recompute::kFeedForward)) << name;
    EXPECT_GT(estimate(nn::Recompute::kFeedForward), estimate(nn::Recompute::kLayers)) << name;
    EXPECT_GE(estimate(nn::Recompute::kLayers), estimate(nn::Recompute::kOffload)) << name;
  }
}

TEST_P(GoldenTraining, EveryStepEqualsTransformersAndPeft) {
  GoldenRun run(GetParam());
  expect_training(run);
  const io::SafetensorsFile tensors = run.golden.tensors();
  for (const nn::Parameter& parameter : run.parameters()) {
    if (!is_unseen(parameter)) {
      expect_near(parameter.tensor, tensors.tensor("trained." + run.key_of(parameter)), 1e-5, parameter.name);
    }
  }
}

TEST(LlamaParts, AreAsManyAsPeftCounts) {
  for (const std::string& name : test::kTrainedPartsCases) {
    GoldenRun run(name);
    int64_t count = 0;
    for (const nn::Parameter& parameter : run.parameters()) {
      count += parameter.tensor.numel();
    }
    EXPECT_EQ(count, run.golden.expected()["num_trainable"].get<int64_t>()) << name;
  }
}

TEST(LoraFa, EveryStepEqualsPefts) {
  GoldenRun run("lora_fa");
  expect_training(run);
  const io::SafetensorsFile expected = run.golden.tensors();
  for (const nn::Parameter& parameter : run.parameters()) {
    expect_near(parameter.tensor, expected.tensor("trained." + run.key_of(parameter)), 1e-5, parameter.name);
    EXPECT_EQ(parameter.tensor.requires_grad(), parameter.role == nn::ParameterRole::kLowRankB) << parameter.name;
  }
}

/// PEFT's file lacks the ranks that were removed; rank_pattern says which.
TEST(AdaLora, EveryStepEqualsPefts) {
  GoldenRun run("adalora");
  expect_training(run);
  const test::TemporaryFolder folder;
  run.method->save(folder.path());
  const io::SafetensorsFile expected = run.golden.tensors();
  const io::SafetensorsFile saved(folder.path() / "adapter_model.safetensors");
  EXPECT_EQ(saved.names().size(), run.parameters().size());
  int64_t ranks = 0;
  for (const std::string& key : saved.names()) {
    expect_near(saved.tensor(key), expected.tensor("trained." + key), 1e-5, key);
    ranks += key.ends_with("lora_E") ? saved.tensor(key).numel() : 0;
  }
  EXPECT_EQ(ranks, 2 * 6);  // target_r in six modules
  const Json config = read_json(folder.path() / "adapter_config.json", ErrorKind::kModel);
  const auto unordered = [](const Json& pattern) { return nlohmann::json::parse(pattern.dump()); };
  EXPECT_EQ(unordered(config["rank_pattern"]), unordered(run.golden.expected()["rank_pattern"]));
  EXPECT_EQ(config["total_step"], 20);
}

/// A run that pauses after so many steps and continues from its files in `folder` has the parameters of one that does not.
void expect_same_bits_after_pause(const std::string& name, int64_t pause, const fs::path& folder) {
  GoldenRun whole(name), first(name), second(name);
  TrainerState state, resumed;
  whole.run(state, {});
  PauseHook hook(pause);
  first.run(resumed, {&hook});
  first.method->save(folder);
  io::save_tensors(folder / "optimizer.safetensors", first.optimizer->state());
  second.method->load(folder);
  second.optimizer->load_state(io::SafetensorsFile(folder / "optimizer.safetensors"));
  second.run(resumed, {});
  for (size_t i = 0; i < whole.parameters().size(); ++i) {
    test::expect_equal(second.parameters()[i].tensor, whole.parameters()[i].tensor, whole.parameters()[i].name);
  }
}

TEST(AdaLora, ContinuesFromACheckpointWithTheSameBits) {
  for (const int64_t pause : {5, 9, 17}) {  // while ranks return, when some are removed, and when all are
    const test::TemporaryFolder folder;
    expect_same_bits_after_pause("adalora", pause, folder.path());
    fs::remove(folder / "rank_budget.safetensors");
    GoldenRun without("adalora");
    test::expect_error(ErrorKind::kModel, {folder.path().string(), "found no rank_budget.safetensors"},
                       [&] { without.method->load(folder.path()); });
  }
}

TEST(AdaLora, NeedsStepsToRemoveRanksIn) {
  GoldenRun run("adalora", {"adapter.total_step=null"});
  test::expect_error(ErrorKind::kConfig, {"[adapter.tfinal]", "found tinit 2, tfinal 4 and 6 steps"}, [&] { run.method->step_rule(6); });
}

TEST(LoraFa, ContinuesFromACheckpointWithTheSameBits) {
  const test::TemporaryFolder folder;
  expect_same_bits_after_pause("lora_fa", 7, folder.path());
}

TEST(QuantizedBases, LossesEqualBitsandbytesToAMillionth) {
  for (const std::string& name : test::kQuantizedCases) {
    GoldenRun run(name);
    test::CollectingSink steps;
    LoggingHook logging(1, {&steps}, [] { return int64_t{0}; });
    TrainerState state;
    run.run(state, {&logging});
    const Json expected = run.golden.expected()["steps"];
    ASSERT_EQ(steps.rows.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const double loss = expected[i]["loss"].get<double>();
      EXPECT_NEAR(steps.rows[i]["loss"].get<double>(), loss, 1e-6 * loss) << name << ", step " << i + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenTraining, testing::ValuesIn(test::kFamilyCases), [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(FullFamilies, GoldenTraining, testing::ValuesIn(test::kFullFamilyCases),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Classification, GoldenTraining, testing::ValuesIn(test::kClassificationCases),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(FullClassification, GoldenTraining, testing::ValuesIn(test::kFullClassificationCases),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Parts, GoldenTraining, testing::ValuesIn(test::kTrainedPartsCases), [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Formulas, GoldenTraining, testing::ValuesIn(test::kFormulaCases), [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Replacements, GoldenTraining, testing::ValuesIn(test::kReplacementCases),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Prompts, GoldenTraining, testing::ValuesIn(test::kPromptCases), [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(SomeWeights, GoldenTraining, testing::ValuesIn(test::kSomeWeightsCases),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Bottleneck, GoldenTraining, testing::ValuesIn(test::kBottleneckCases),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Quantized, GoldenTraining, testing::ValuesIn(test::kQuantizedCases), [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Llama, GoldenTraining, testing::ValuesIn(test::kGoldenCases), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lora::train
