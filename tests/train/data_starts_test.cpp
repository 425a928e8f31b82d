// Adapters whose first values are computed from the weights or from the data.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden_checks.h"
#include "lora/nn/adapters.h"
#include "lora/peft/corda.h"
#include "lora/peft/eva.h"
#include "lora/peft/lora_ga.h"
#include "support/adapted_hosts.h"
#include "support/golden_run.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

using test::expect_near;
using test::GoldenRun;

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

}  // namespace
}  // namespace lora::train
