// Methods that are a formula, on a model and without one: attached, saved, read again, merged, refused.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/peft/combine.h"
#include "lora/peft/merge.h"
#include "lora/peft/method.h"
#include "peft/default_targets.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::expect_error;
using test::TemporaryFolder;

template <typename Options>
Options on_projections(Options options) {
  options.target_modules = {ModuleChoice::Kind::kList, {"q_proj", "k_proj", "down_proj"}, ""};
  return options;
}

Ia3Options scaled_ia3() {
  Ia3Options options = on_projections(Ia3Options());
  options.feedforward_modules = {ModuleChoice::Kind::kList, {"down_proj"}, ""};
  return options;
}

OftOptions blocks_of_four() {
  OftOptions options = on_projections(OftOptions());
  options.oft_block_size = 4;
  return options;
}

MissOptions rows_of_three() {
  MissOptions options = on_projections(MissOptions());
  options.r = 3;
  return options;
}

/// Every method, with the sizes of the tiny Llama.
std::vector<MethodOptions> every_method() {
  VeraOptions vera = on_projections(VeraOptions());
  vera.r = 5;
  RandLoraOptions randlora = on_projections(RandLoraOptions());
  randlora.r = 3;
  return {scaled_ia3(),
          vera,
          on_projections(LohaOptions()),
          on_projections(LokrOptions()),
          blocks_of_four(),
          on_projections(BoftOptions()),
          on_projections(HraOptions()),
          rows_of_three(),
          on_projections(AdaLoraOptions()),
          randlora};
}

/// Changes every trained tensor, so that none is as it started.
void add_noise(const Method& method) {
  const at::NoGradGuard no_grad;
  uint64_t seed = 3;
  for (const nn::Parameter& parameter : method.parameters()) {
    parameter.tensor.add_(0.1 * test::normal(parameter.tensor.sizes().vec(), ++seed, at::kFloat));
  }
}

TEST(FormulaMethod, StartsAsTheBaseAndTrainsEveryTensor) {
  for (const MethodOptions& options : every_method()) {
    const models::BaseModel base = test::tiny_llama();
    const at::Tensor before = test::hidden_of(*base.model);
    const auto method = test::attach(options, base);
    test::expect_close(test::hidden_of(*base.model), before, 1e-5, method->name());
    add_noise(*method);
    const nn::Pass pass = nn::training_pass(test::batch_of(test::documents_of({7, 4}, 50)), 1, 0);
    base.model->body->hidden(pass).square().sum().backward();
    for (const nn::Parameter& parameter : method->parameters()) {
      ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
      EXPECT_GT(parameter.tensor.grad().abs().max().item<double>(), 0) << parameter.name;
    }
  }
}

TEST(FormulaMethod, AStartThatChangesTheModelIsReportedOnce) {
  HraOptions odd = on_projections(HraOptions());
  odd.r = 3;
  const models::BaseModel base = test::tiny_llama();
  testing::internal::CaptureStderr();
  require_matching_targets(odd, *base.model);
  const auto method = test::attach(odd, base);
  const TemporaryFolder folder;
  method->save(folder.path());
  read_adapter(folder.path(), odd);
  const std::string log = testing::internal::GetCapturedStderr();
  const size_t first = log.find("odd number of reflections");
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("odd number of reflections", first + 1), std::string::npos) << log;
}

/// A block of one value has no angle, so that there is nothing to train; PEFT writes such tensors without values, too.
TEST(FormulaMethod, RandomBlocksOfOneValueAreEmpty) {
  OftOptions options = on_projections(OftOptions());
  options.oft_block_size = 1;
  options.init_weights = false;
  const models::BaseModel base = test::tiny_llama();
  const at::Tensor before = test::hidden_of(*base.model);
  const auto method = test::attach(options, base);
  EXPECT_EQ(method->parameters().front().tensor.numel(), 0);
  test::expect_close(test::hidden_of(*base.model), before, 1e-6, "rotations by no angle");
}

TEST(FormulaMethod, AFileGivesTheSameModel) {
  for (MethodOptions options : every_method()) {
    const models::BaseModel base = test::tiny_llama(), other = test::tiny_llama();
    const auto method = test::attach(options, base);
    add_noise(*method);
    const TemporaryFolder folder, again;
    method->save(folder.path());
    options->init_from = folder.path();
    const auto read = test::attach(options, other);
    test::expect_equal(test::hidden_of(*other.model), test::hidden_of(*base.model), method->name());
    read->save(again.path());
    const std::string written = read_file(folder / test::kWeights, ErrorKind::kModel);
    EXPECT_EQ(written, read_file(again / test::kWeights, ErrorKind::kModel)) << method->name();
    add_noise(*read);
    read->load(folder.path());
    test::expect_equal(test::hidden_of(*other.model), test::hidden_of(*base.model), method->name());
  }
}

TEST(FormulaMethod, AMergedBaseComputesTheSame) {
  for (const MethodOptions& options : every_method()) {
    const models::BaseModel base = test::tiny_llama(), merged = test::tiny_llama();
    const auto method = test::attach(options, base);
    add_noise(*method);
    const TemporaryFolder folder;
    method->save(folder.path());
    BaseLayout layout;
    std::map<std::string, at::Tensor> weights;
    for (const nn::Parameter& parameter : merged.model->base_parameters()) {
      layout.tensors.push_back({parameter.name, parameter.tensor.sizes().vec()});
      weights.emplace(parameter.name, parameter.tensor);
    }
    const WeightedAdapter adapter{read_adapter(folder.path(), options), 1, "adapter"};
    size_t changed = 0;
    for (const MergedTensor& tensor : plan_merge(layout, {adapter}, /*subtract=*/false).tensors) {
      const at::Tensor& weight = weights.at(tensor.name);
      const at::NoGradGuard no_grad;
      weight.copy_(merged_rows(tensor, weight.clone(), 0, weight.size(0)));
      changed += tensor.is_changed() ? 1 : 0;
    }
    EXPECT_EQ(changed, 9U) << method->name();
    test::expect_close(test::hidden_of(*merged.model), test::hidden_of(*base.model), 1e-5, method->name());
  }
}

TEST(FormulaMethod, WhatCannotBeDoneIsAnError) {
  const models::BaseModel base = test::tiny_llama();
  const OftOptions options = blocks_of_four();
  const auto method = test::attach(options, base);
  const TemporaryFolder folder;
  method->save(folder.path());
  const Adapter adapter = read_adapter(folder.path(), options);
  BaseLayout layout, narrow;
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    layout.tensors.push_back({parameter.name, parameter.tensor.sizes().vec()});
    narrow.tensors.push_back({parameter.name, {8, 8}});
  }
  expect_error(ErrorKind::kModel, {"unmerged", "formula", "k_proj"}, [&] { plan_merge(layout, {{adapter, 1, "adapter"}}, true); });
  expect_error(ErrorKind::kModel, {"weight 1", "k_proj"}, [&] { plan_merge(layout, {{adapter, 0.5, "adapter"}}, false); });
  expect_error(ErrorKind::kModel, {"another shape", "oft_R.weight"}, [&] { plan_merge(narrow, {{adapter, 1, "adapter"}}, false); });
  CombineOptions linear;
  linear.method = "linear";
  expect_error(ErrorKind::kModel, {"cannot be combined", "OFT"}, [&] { combine({{adapter, 1, "a"}, {adapter, 1, "b"}}, linear); });
}

TEST(FormulaMethod, SharedTensorsMustCoverEveryProjection) {
  const models::BaseModel base = test::tiny_llama();
  for (const auto& [options, name] : {std::pair(every_method()[1], "vera_A"), std::pair(every_method().back(), "randlora_A")}) {
    const auto method = test::attach(options, base);
    const TemporaryFolder folder;
    method->save(folder.path());
    const Adapter adapter = read_adapter(folder.path(), options);
    BaseLayout wide;
    for (const nn::Parameter& parameter : base.model->base_parameters()) {
      wide.tensors.push_back({parameter.name, {4096, 4096}});
    }
    expect_error(ErrorKind::kModel, {name, "does not fit", "down_proj", "4096"}, [&] {
      plan_merge(wide, {{adapter, 1, "adapter"}}, false);
    });
  }
}

/// After some ranks are removed, PEFT's file lacks them, and a new adapter continues from those that are left.
TEST(FormulaMethod, AnAdapterWithRemovedRanksIsSavedShorter) {
  AdaLoraOptions options = on_projections(AdaLoraOptions());
  options.init_r = 4, options.target_r = 1;
  const models::BaseModel base = test::tiny_llama(), other = test::tiny_llama();
  const auto method = test::attach(options, base);
  add_noise(*method);
  nn::StepRule* const rule = method->step_rule(4);
  ASSERT_NE(rule, nullptr);
  for (int64_t step = 1; step <= 4; ++step) {
    for (const nn::Parameter& parameter : method->parameters()) {
      parameter.tensor.mutable_grad() = test::normal(parameter.tensor.sizes().vec(), static_cast<uint64_t>(step), at::kFloat);
    }
    rule->after_update(step, 1.0);
  }
  const TemporaryFolder folder, again;
  method->save(folder.path());
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["total_step"], 4);
  ASSERT_EQ(config["rank_pattern"].size(), 9U);
  options.init_from = folder.path();
  int64_t ranks = 0;
  for (const auto& [name, list] : config["rank_pattern"].items()) {
    options.rank_pattern[name.substr(0, name.size() - 7)] = list.get<std::vector<bool>>();
    ranks += std::count(list.begin(), list.end(), Json(true));
  }
  EXPECT_EQ(ranks, 9);
  const auto read = test::attach(options, other);
  test::expect_close(test::hidden_of(*other.model), test::hidden_of(*base.model), 1e-5, "without the removed ranks");
  read->save(again.path());
  EXPECT_EQ(read_file(folder / test::kWeights, ErrorKind::kModel), read_file(again / test::kWeights, ErrorKind::kModel));
  EXPECT_EQ(read_json(again / "adapter_config.json", ErrorKind::kModel)["rank_pattern"], config["rank_pattern"]);
  EXPECT_EQ(of_kind<FormulaUpdate>(read_adapter(folder.path(), options).updates).size(), 9U);
}

TEST(FormulaMethod, AMergeKeepsTrainedRowsOfTheSameWeight) {
  const models::BaseModel base = test::tiny_llama();
  const auto method = test::attach(on_projections(LohaOptions()), base);
  add_noise(*method);
  const TemporaryFolder folder;
  method->save(folder.path());
  const Adapter adapter = read_adapter(folder.path(), on_projections(LohaOptions()));
  const auto update = of_kind<FormulaUpdate>(adapter.updates).front();
  const std::vector<io::NamedTensor> parts = update.change->tensors();  // hada_w1_a [O, R], hada_w1_b [R, I], …
  const int64_t outputs = parts[0].tensor.size(0), inputs = parts[1].tensor.size(1);
  const at::Tensor weight_OI = test::normal({outputs, inputs}, 5, at::kFloat), row_1I = test::normal({1, inputs}, 6, at::kFloat);
  MergedTensor both{update.module + ".weight", update.module + ".weight", {outputs, inputs}, true, {}, {}, {}, {}};
  both.formulas = {update};
  const at::Tensor replaced_OI = weight_OI.clone();
  replaced_OI[2].copy_(row_1I[0]);
  const at::Tensor expected_OI = merged_rows(both, replaced_OI, 0, outputs);
  both.rows = {HeldTensor{{both.name, row_1I}, {2}}};
  test::expect_equal(merged_rows(both, weight_OI, 0, outputs), expected_OI, "rows and formula");
}

TEST(FormulaMethod, OnlyProjectionsAreAdapted) {
  models::BaseModel base = test::tiny_llama();
  LohaOptions options = on_projections(LohaOptions());
  options.target_modules.names = {"embed_tokens"};
  expect_error(ErrorKind::kConfig, {"adapter.target_modules", "LoHa", "embed_tokens", "expected Linear"},
               [&] { test::attach(options, base); });
  base.model->family.clear();
  expect_error(ErrorKind::kConfig, {"adapter.target_modules", "no default targets"}, [&] { test::attach(Ia3Options(), base); });
  Ia3Options ia3 = on_projections(Ia3Options());
  expect_error(ErrorKind::kConfig, {"adapter.feedforward_modules", "no default"}, [&] { test::attach(ia3, base); });
}

TEST(DefaultTargets, ArePefts) {
  const Json expected = read_json(test::kData / "peft_formulas/default_targets.json", ErrorKind::kData);
  for (const auto& [family, ia3] : expected["ia3"].items()) {
    const DefaultTargets found = default_targets_of(family);
    EXPECT_EQ(Json(found.ia3), ia3) << family;
    EXPECT_EQ(Json(found.ia3_feedforward), expected["ia3_feedforward"][family]) << family;
    EXPECT_EQ(Json(found.ln_tuning), expected["ln_tuning"][family]) << family;
    EXPECT_EQ(Json(found.adalora), expected["adalora"][family]) << family;
  }
}

TEST(FormulaMethod, Ia3HasTheDefaultsOfTheFamily) {
  const models::BaseModel base = test::tiny_llama();
  const auto method = test::attach(Ia3Options(), base);
  std::vector<std::string> entries;
  for (const TargetMatch& match : method->matches()) {
    entries.push_back(match.entry);
  }
  EXPECT_THAT(entries, testing::ElementsAre("k_proj", "v_proj", "down_proj"));
  const TemporaryFolder folder;
  method->save(folder.path());
  EXPECT_EQ(read_json(folder / "adapter_config.json", ErrorKind::kModel)["feedforward_modules"], Json({"down_proj"}));
}

}  // namespace
}  // namespace lora::peft
