#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "lora/nn/adapters.h"
#include "lora/peft/corda.h"
#include "lora/peft/eva.h"
#include "lora/peft/lora_ga.h"
#include "support/adapted_hosts.h"
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

/// Every example of a set in one batch.
nn::Batch one_batch(const data::Dataset& set) {
  std::vector<int64_t> all(set.examples.size());
  std::iota(all.begin(), all.end(), 0);
  return data::make_batch(set, all);
}

/// The loss of each held-out document; for token prediction they are computed in one batch.
std::vector<double> losses_of(GoldenRun& run) {
  if (!run.labels) {
    return test::document_losses(run.model(), one_batch(run.eval_set));
  }
  std::vector<double> losses;
  for (int64_t d = 0; d < static_cast<int64_t>(run.eval_set.examples.size()); ++d) {
    LabelTally tally(run.labels->is_regression);
    const nn::Batch batch = data::make_batch(run.eval_set, {d});
    tally.add(row_outputs(run.model(), batch), targets_of(run.eval_set, batch));
    losses.push_back(tally.result().loss);
  }
  return losses;
}

/// Logits of a model's head, whichever kind it has.
at::Tensor logits_of(nn::Model& model, const nn::Pass& pass) {
  return model.documents == nullptr ? model.tokens->logits(model.body->hidden(pass), pass)
                                    : model.documents->scores(*model.body, pass).squeeze(0);
}

void expect_document_losses(GoldenRun& run, const Json& expected, const std::string& what) {
  const std::vector<double> losses = losses_of(run);
  ASSERT_EQ(losses.size(), expected.size());
  for (size_t d = 0; d < losses.size(); ++d) {
    const double loss = expected[d]["loss"].get<double>();
    EXPECT_NEAR(losses[d], loss, 1e-5 * loss) << what << " of document " << d;
    const data::Example& example = run.eval_set.examples[d];
    const int64_t first = run.model().body->virtual_tokens() > 0 ? example.num_first_supervised() : 0;
    EXPECT_EQ(example.num_supervised() + first, expected[d]["num_tokens"].get<int64_t>());
  }
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

/// Trains, and compares every step, every evaluation and the documents' losses at the end.
void expect_training(GoldenRun& run) {
  test::CollectingSink steps, evaluations;
  LoggingHook logging(1, {&steps}, [] { return int64_t{0}; });
  EvaluationHook evaluation(*run.objective, {eval_interval(run.training, /*total_steps=*/0), false, std::nullopt}, {&evaluations});
  TrainerState state;
  run.run(state, {&logging, &evaluation});

  const Json expected = run.golden.expected();
  const auto expect_relative = [](const Json& actual, const Json& step, const char* key, double tolerance) {
    const double value = step[key].get<double>();
    EXPECT_NEAR(actual[key].get<double>(), value, tolerance * std::abs(value)) << key << " of step " << step["step"];
  };
  ASSERT_EQ(steps.rows.size(), expected["steps"].size());
  for (size_t i = 0; i < steps.rows.size(); ++i) {
    const Json& step = expected["steps"][i];
    expect_relative(steps.rows[i], step, "loss", 1e-5);
    expect_relative(steps.rows[i], step, "learning_rate", 1e-5);
    expect_relative(steps.rows[i], step, "grad_norm", 2e-4);
    EXPECT_EQ(steps.rows[i]["num_tokens"], step["num_tokens"]);
    EXPECT_EQ(steps.rows[i]["num_input_tokens"], step["num_input_tokens"]);
  }
  ASSERT_EQ(evaluations.rows.size(), expected["eval"].size());
  for (size_t i = 0; i < evaluations.rows.size(); ++i) {
    EXPECT_EQ(evaluations.rows[i]["step"], expected["eval"][i]["step"]);
    for (const auto& [key, value] : expected["eval"][i].items()) {
      EXPECT_TRUE(key == "step" || evaluations.rows[i].contains(key)) << key;
      expect_relative(evaluations.rows[i], expected["eval"][i], key.c_str(), 1e-5);
    }
  }
  expect_document_losses(run, expected["documents"], "loss");
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

/// W + scale · B A after training, which does not depend on the signs of singular vectors.
void expect_effective_weights(GoldenRun& run) {
  const io::SafetensorsFile expected = run.golden.tensors();
  int64_t compared = 0;
  for (const nn::Linear* host : test::adapted_hosts(run.model())) {
    expect_near(test::effective_weight(*host), expected.tensor("effective." + host->name() + ".weight"), 1e-5, host->name());
    ++compared;
  }
  for (const std::string& name : expected.names()) {
    compared -= name.starts_with("effective.") ? 1 : 0;
  }
  EXPECT_EQ(compared, 0);
}

TEST(LlamaStarts, FromTheWeightsEqualPefts) {
  for (const std::string name : {"pissa", "olora"}) {
    SCOPED_TRACE(name);
    GoldenRun run(name);
    const io::SafetensorsFile expected = run.golden.tensors();
    for (const nn::Parameter& parameter : run.parameters()) {
      expect_near(parameter.tensor.abs(), expected.tensor("start." + run.key_of(parameter)).abs(), 1e-5, parameter.name);
    }
    expect_document_losses(run, run.golden.expected()["base_documents"], "start loss");
    expect_training(run);
    expect_effective_weights(run);
  }
}

TEST(LlamaStarts, FromTheDataEqualsPefts) {
  GoldenRun run("eva");
  nn::remove_adapters(run.model());  // GoldenRun attaches without looking at the data
  peft::EvaPass pass(*run.config.adapter.as<peft::LoraOptions>(), run.model());
  const std::vector<MicroBatch> batches = data::plan_epoch(run.train_set, run.batches, 0);
  for (size_t i = 0;; ++i) {
    const std::vector<int64_t>& batch = batches[i % batches.size()];
    std::vector<int32_t> labels;
    for (const int64_t index : batch) {
      const std::vector<int32_t> own = run.train_set.examples[index].labels();
      labels.insert(labels.end(), own.begin(), own.end());
    }
    if (pass.add(data::make_batch(run.train_set, batch), at::tensor(labels).ne(nn::kIgnoreLabel).nonzero().squeeze(1))) {
      break;
    }
  }
  run.method = peft::attach_eva(pass.start(), run.model(), "base", run.config.training.seed);
  run.optimizer = optim::make_optimizer(run.training.optimizer, run.parameters(), run.training.learning_rate);
  expect_training(run);
  expect_effective_weights(run);
}

/// Attaches the adapter of a data pass in place of GoldenRun's, which did not read the data.
void attach_starts(GoldenRun& run, const std::vector<peft::ModuleStart>& starts) {
  run.method = peft::attach_with_starts(*run.config.adapter.as<peft::LoraOptions>(), starts, run.model(), "base", run.config.training.seed);
  run.optimizer = optim::make_optimizer(run.training.optimizer, run.parameters(), run.training.learning_rate);
}

void expect_starts(const GoldenRun& run, const std::vector<peft::ModuleStart>& starts) {
  const io::SafetensorsFile expected = run.golden.tensors();
  for (const peft::ModuleStart& start : starts) {
    const std::string key = "start.base_model.model." + start.module;
    expect_near(start.A_RI.abs(), expected.tensor(key + ".lora_A.weight").abs(), 1e-5, key);
    expect_near(start.B_OR.abs(), expected.tensor(key + ".lora_B.weight").abs(), 1e-5, key);
  }
}

TEST(LlamaStarts, FromCovariancesEqualPefts) {
  for (const std::string name : {"corda", "corda_kpm"}) {
    SCOPED_TRACE(name);
    GoldenRun run(name);
    nn::remove_adapters(run.model());
    peft::CordaPass pass(*run.config.adapter.as<peft::LoraOptions>(), run.model());
    const std::vector<MicroBatch> batches = data::plan_epoch(run.train_set, run.batches, 0);
    for (size_t i = 0; i < batches.size() && !pass.is_complete(); ++i) {
      pass.add(data::make_batch(run.train_set, batches[i]));
    }
    EXPECT_EQ(pass.num_documents(), name == "corda" ? 7 : 13);
    const std::vector<peft::ModuleStart> starts = pass.starts();
    expect_starts(run, starts);
    attach_starts(run, starts);
    expect_document_losses(run, run.golden.expected()["base_documents"], "start loss");
    expect_training(run);
    expect_effective_weights(run);
  }
}

/// The signs of singular vectors, which depend on random numbers, as PEFT had them: A has some of the vectors and B others, so that the
/// product depends on them.
void take_signs(const GoldenRun& run, std::vector<peft::ModuleStart>& starts) {
  const io::SafetensorsFile expected = run.golden.tensors();
  for (peft::ModuleStart& start : starts) {
    const std::string key = "start.base_model.model." + start.module;
    start.A_RI = start.A_RI * (start.A_RI * expected.tensor(key + ".lora_A.weight")).sum(1, /*keepdim=*/true).sign();
    start.B_OR = start.B_OR * (start.B_OR * expected.tensor(key + ".lora_B.weight")).sum(0, /*keepdim=*/true).sign();
  }
}

TEST(LlamaStarts, FromGradientsEqualPefts) {
  GoldenRun run("lora_ga");
  nn::remove_adapters(run.model());
  std::vector<peft::ModuleStart> starts;
  {
    peft::GradientPass pass(*run.config.adapter.as<peft::LoraOptions>(), run.model());
    const std::vector<MicroBatch> batches = data::plan_epoch(run.train_set, run.batches, 0);
    for (size_t i = 0; i < batches.size() && !pass.is_complete(); ++i) {
      pass.add(run.loss_sum(batches[i], 0) / run.objective->size(batches[i]).supervised);
    }
    EXPECT_EQ(pass.num_batches(), 3);
    starts = pass.starts(run.config.training.seed);
  }
  for (const nn::Parameter& weight : run.model().base_parameters()) {
    EXPECT_FALSE(weight.tensor.requires_grad() || weight.tensor.grad().defined()) << weight.name;
  }
  expect_starts(run, starts);
  take_signs(run, starts);
  attach_starts(run, starts);
  expect_document_losses(run, run.golden.expected()["base_documents"], "start loss");
  expect_training(run);
  expect_effective_weights(run);
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
