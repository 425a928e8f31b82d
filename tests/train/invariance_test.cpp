#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "support/expect_error.h"
#include "support/golden_run.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

using test::expect_close;
using test::expect_equal;
using test::GoldenRun;

class ReportRecorder : public Hook {
 public:
  bool on_step(const StepReport& report, TrainerState&) override {
    all.push_back(report);
    return false;
  }
  std::vector<StepReport> all;
};

std::vector<at::Tensor> tensor_copies(const std::vector<nn::Parameter>& parameters) {
  std::vector<at::Tensor> all;
  for (const nn::Parameter& parameter : parameters) {
    all.push_back(parameter.tensor.detach().clone());
  }
  return all;
}

TEST(Packing, DocumentsTogetherHaveTheLossTheyHaveAlone) {
  for (const std::string name : {"gqa", "dynamic", "biases"}) {
    GoldenRun run(name);
    std::vector<int64_t> all;
    double alone = 0;
    std::vector<double> single;
    for (int64_t i = 0; i < static_cast<int64_t>(run.train_set.examples.size()); ++i) {
      all.push_back(i);
      single.push_back(test::document_losses(run.model(), data::make_batch(run.train_set, {i})).at(0));
      alone += run.loss_sum({i}, 0).item<double>();
    }
    const std::vector<double> packed = test::document_losses(run.model(), data::make_batch(run.train_set, all));
    for (size_t i = 0; i < single.size(); ++i) {
      EXPECT_NEAR(packed[i], single[i], 1e-5 * single[i]) << name << " document " << i;
    }
    EXPECT_NEAR(run.loss_sum(all, 0).item<double>() / alone, 1.0, 1e-6) << name;
  }
}

/// Records the number of rows that each projection is given.
class RowCounter : public nn::InputObserver {
 public:
  void see(const nn::Linear& host, const at::Tensor& x_TI) override { rows[host.name()] = x_TI.size(0); }
  std::map<std::string, int64_t> rows;
};

TEST(HiddenOf, AreTheSameRowsInEveryFamilyAlsoWithDropout) {
  std::vector<std::string> names = test::kFamilyCases;
  names.insert(names.end(), test::kClassificationCases.begin(), test::kClassificationCases.end());
  for (const std::string& name : names) {
    GoldenRun run(name, {"adapter.lora_dropout=0.3", "model.base_dropout=0.1"});
    const nn::Batch batch = data::make_batch(run.train_set, {0, 1});
    const int64_t last = batch.num_tokens() - 1;
    const at::Tensor rows_S = at::tensor({int64_t{1}, last / 2, last}, at::kLong);
    const nn::Pass pass = nn::training_pass(batch, 7, 3);
    expect_close(run.model().body->hidden_of(rows_S, pass), run.model().body->hidden(pass).index_select(0, rows_S), 1e-5);
  }
}

TEST(HiddenOf, TheLastFeedForwardBlockGetsNoOtherRows) {
  GoldenRun run("gqa");
  const nn::Batch batch = data::make_batch(run.train_set, {0, 1});
  nn::Pass pass = nn::evaluation_pass(batch);
  RowCounter counter;
  pass.observer = &counter;
  run.model().body->hidden_of(at::tensor({int64_t{1}, int64_t{3}}, at::kLong), pass);
  EXPECT_EQ(counter.rows.at("model.layers.1.self_attn.k_proj"), batch.num_tokens());
  EXPECT_EQ(counter.rows.at("model.layers.0.mlp.down_proj"), batch.num_tokens());
  EXPECT_EQ(counter.rows.at("model.layers.1.mlp.down_proj"), 2);
  run.model().body->hidden_of(at::arange(batch.num_tokens()), pass);
  EXPECT_EQ(counter.rows.at("model.layers.1.mlp.down_proj"), batch.num_tokens());
}

TEST(Packing, AnEvaluationDoesNotDependOnItsBatches) {
  GoldenRun one("gqa", {"training.per_device_eval_batch_size=1"}), all("gqa", {"training.per_device_eval_batch_size=100"});
  const EvalResult single = one.objective->evaluate(), together = all.objective->evaluate();
  EXPECT_EQ(single.num_supervised, together.num_supervised);
  EXPECT_NEAR(single.loss, together.loss, 1e-6 * single.loss);
}

/// Tensors after some steps of a case, with other settings.
std::vector<at::Tensor> trained_with(const std::string& name, const std::vector<std::string>& overrides,
                                     nn::Recompute recompute = nn::Recompute::kNothing) {
  std::vector<std::string> all = overrides;
  all.emplace_back("training.max_steps=3");
  GoldenRun run(name, all);
  run.execution.recompute = recompute;
  TrainerState state;
  run.run(state, {});
  return tensor_copies(run.parameters());
}

TEST(Methods, DoNotDependOnHowAStepIsDivided) {
  std::vector<std::string> names = test::kPromptCases;
  for (const auto* more : {&test::kFormulaCases, &test::kReplacementCases, &test::kBottleneckCases}) {
    names.insert(names.end(), more->begin(), more->end());
  }
  for (const std::string& name : names) {
    const std::vector<at::Tensor> expected = trained_with(name, {});  // two documents, twice
    const std::vector<at::Tensor> together =
        trained_with(name, {"training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=1"});
    const std::vector<at::Tensor> recomputed = trained_with(name, {}, nn::Recompute::kLayers);
    for (size_t i = 0; i < expected.size(); ++i) {
      test::expect_near(together[i], expected[i], 1e-5, name);
      test::expect_near(recomputed[i], expected[i], 1e-6, name);  // layers add to a network's gradients one by one
    }
  }
}

TEST(GradientCheckpointing, GivesTheSameBits) {
  const auto trained = [](nn::Recompute recompute) {
    GoldenRun run("tied", {"training.max_steps=3", "adapter.lora_dropout=0.3"});
    run.execution.recompute = recompute;
    TrainerState state;
    run.run(state, {});
    return tensor_copies(run.parameters());
  };
  const std::vector<at::Tensor> kept = trained(nn::Recompute::kNothing);
  for (const nn::Recompute recompute : {nn::Recompute::kFeedForward, nn::Recompute::kLayers, nn::Recompute::kOffload}) {
    const std::vector<at::Tensor> again = trained(recompute);
    ASSERT_EQ(again.size(), kept.size());
    for (size_t i = 0; i < kept.size(); ++i) {
      expect_equal(again[i], kept[i], "tensor " + std::to_string(i));
    }
  }
}

struct FirstStep {
  double loss;
  std::vector<at::Tensor> gradients;
};

FirstStep first_step(const std::vector<std::string>& overrides) {
  std::vector<std::string> all{"training.max_steps=1", "training.max_grad_norm=0", "data.shuffle=true"};
  all.insert(all.end(), overrides.begin(), overrides.end());
  GoldenRun run("tied", all);
  ReportRecorder reports;
  TrainerState state;
  run.run(state, {&reports});
  FirstStep result{reports.all.at(0).loss, {}};
  for (const nn::Parameter& parameter : run.parameters()) {
    result.gradients.push_back(parameter.tensor.grad());
  }
  return result;
}

TEST(Accumulation, ASplitIntoMicroBatchesChangesNothingAlsoWithDropout) {
  const std::vector<std::string> whole{"training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=1"};
  const std::vector<std::string> ones{"training.per_device_train_batch_size=1", "training.gradient_accumulation_steps=8"};
  std::vector<double> losses;
  for (const char* dropout : {"adapter.lora_dropout=0", "adapter.lora_dropout=0.3"}) {
    const auto with = [dropout](std::vector<std::string> overrides) {
      overrides.emplace_back(dropout);
      return overrides;
    };
    const FirstStep a = first_step(with(whole)), b = first_step(with(ones));
    EXPECT_NEAR(a.loss, b.loss, 1e-6 * a.loss) << dropout;
    ASSERT_EQ(a.gradients.size(), b.gradients.size());
    for (size_t i = 0; i < a.gradients.size(); ++i) {
      expect_close(a.gradients[i], b.gradients[i], 1e-5, dropout);
    }
    losses.push_back(a.loss);
  }
  EXPECT_GT(std::abs(losses[0] - losses[1]), 1e-3);  // dropout was active
}

TEST(Prefetch, BatchesBuiltAheadChangeNoBit) {
  const std::vector<std::string> overrides{"training.max_steps=30", "data.shuffle=true", "adapter.lora_dropout=0.2"};
  std::vector<std::vector<StepReport>> reports;
  std::vector<double> eval_losses;
  std::vector<std::vector<at::Tensor>> results;
  for (const bool prefetch : {false, true}) {
    GoldenRun run("tied", overrides, prefetch);
    ReportRecorder all;
    TrainerState state;
    run.run(state, {&all});
    reports.push_back(all.all);
    eval_losses.push_back(run.objective->evaluate().loss);
    results.push_back(tensor_copies(run.parameters()));
  }
  EXPECT_GT(reports[0].back().epoch, 2.0) << "the batches of the next epoch are prepared in this one";
  for (size_t i = 0; i < reports[0].size(); ++i) {
    EXPECT_EQ(reports[0][i].loss, reports[1][i].loss) << i;
  }
  EXPECT_EQ(eval_losses[0], eval_losses[1]);
  for (size_t i = 0; i < results[0].size(); ++i) {
    expect_equal(results[0][i], results[1][i]);
  }
}

TEST(Divergence, LeavesTheParametersAsTheyWere) {
  GoldenRun run("gqa");
  {
    const at::NoGradGuard no_grad;
    run.parameters()[1].tensor.view(-1)[0] = INFINITY;
  }
  const std::vector<at::Tensor> before = tensor_copies(run.parameters());
  TrainerState state;
  test::expect_error(ErrorKind::kDiverged, {"step 1", "not finite", "rows.jsonl:1"}, [&] { run.run(state, {}); });
  for (size_t i = 0; i < before.size(); ++i) {
    expect_equal(run.parameters()[i].tensor.detach(), before[i], run.parameters()[i].name);
  }
  EXPECT_EQ(state.step, 0);
  const test::TemporaryFolder folder;
  test::expect_error(ErrorKind::kDiverged, {"nothing was written"}, [&] { run.method->save(folder.path()); });
  EXPECT_TRUE(test::files_in(folder.path()).empty());
}

class Resume : public testing::TestWithParam<std::string> {};

TEST_P(Resume, FiveStepsAndFiveMoreAreTenBitForBit) {
  std::vector<std::string> overrides{"training.max_steps=10", "data.shuffle=true"};
  if (GetParam() != "full") {
    overrides.emplace_back("adapter.lora_dropout=0.2");
  }
  const test::TemporaryFolder folder;
  GoldenRun straight(GetParam(), overrides);
  CheckpointHook saving(folder.path(), {every_steps(5), std::nullopt, false}, *straight.optimizer,
                        [&](const std::filesystem::path& into) { straight.method->save(into); });
  ReportRecorder all;
  TrainerState state;
  straight.run(state, {&all, &saving});

  GoldenRun second(GetParam(), overrides);
  const std::filesystem::path from = checkpoint::folder(folder.path(), 5);
  ASSERT_EQ(checkpoint::fault(from), "");
  TrainerState resumed = checkpoint::load_state(from);
  EXPECT_EQ(resumed.step, 5);
  second.method->load(from);
  second.optimizer->load_state(io::SafetensorsFile(from / "optimizer.safetensors"));
  ReportRecorder rest;
  second.run(resumed, {&rest});

  EXPECT_EQ(resumed.step, state.step);
  EXPECT_EQ(resumed.epoch, state.epoch);
  ASSERT_EQ(rest.all.size(), 5U);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(rest.all[i].step, all.all[i + 5].step);
    EXPECT_EQ(rest.all[i].loss, all.all[i + 5].loss);
    EXPECT_EQ(rest.all[i].grad_norm, all.all[i + 5].grad_norm);
    EXPECT_EQ(rest.all[i].learning_rate, all.all[i + 5].learning_rate);
  }
  const std::vector<at::Tensor> expected = tensor_copies(straight.parameters());
  for (size_t i = 0; i < expected.size(); ++i) {
    expect_equal(second.parameters()[i].tensor.detach(), expected[i], second.parameters()[i].name);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Resume, testing::Values("tied", "llama3", "full"), [](const auto& info) { return info.param; });

TEST(CausalLm, CountsAndNamesItsExamples) {
  GoldenRun run("gqa");
  const BatchSize size = run.objective->size({0, 1});
  EXPECT_EQ(size.supervised, run.train_set.examples[0].num_supervised() + run.train_set.examples[1].num_supervised());
  EXPECT_EQ(size.input, static_cast<int64_t>(run.train_set.examples[0].ids().size() + run.train_set.examples[1].ids().size()));
  EXPECT_THAT(run.objective->describe({0, 2}), testing::AllOf(testing::HasSubstr("rows.jsonl:1"), testing::HasSubstr("rows.jsonl:3")));
  EXPECT_TRUE(run.objective->has_evaluation());
  EXPECT_FALSE(CausalLm({run.model(), run.train_set}).has_evaluation());
  EXPECT_EQ(data::plan_epoch(run.train_set, run.batches, 0).front(), (MicroBatch{0, 1}));
}

TEST(CausalLm, PartsAreWholeDocumentsUpToABudget) {
  GoldenRun run("gqa");
  std::vector<int64_t> lengths, all;
  for (int64_t i = 0; i < 4; ++i) {
    lengths.push_back(static_cast<int64_t>(run.train_set.examples[i].ids().size()));
    all.push_back(i);
  }
  const auto parts = [&run, &all](int64_t tokens) { return parts_of(all, run.train_set, {.part_tokens = tokens}); };
  EXPECT_EQ(parts(0), (std::vector<MicroBatch>{{0, 1, 2, 3}}));
  EXPECT_EQ(parts(1), (std::vector<MicroBatch>{{0}, {1}, {2}, {3}}));
  const int64_t sum = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  EXPECT_EQ(parts(sum), (std::vector<MicroBatch>{{0, 1, 2, 3}}));
  EXPECT_EQ(parts(sum - 1).size(), 2U);
}

TEST(CausalLm, SmallPartsRunBesideEachOtherInTheHalfTypesOfTheCpu) {
  const auto parts = [](GoldenRun& run, bool is_allowed, nn::Recompute recompute = nn::Recompute::kNothing,
                        std::optional<bool> prefetch = {}) {
    const Execution execution = execution_for(run.model(), recompute, is_allowed, prefetch);
    const std::vector<MicroBatch> parts = parts_of({0, 1}, run.train_set, execution);
    return std::pair(parts.size(), runs_alongside_others(parts.front(), *run.objective, execution));
  };
  GoldenRun half("tied", {"model.dtype=bfloat16"}), wide("tied");
  EXPECT_EQ(parts(half, true), std::pair(size_t{2}, true));
  EXPECT_EQ(parts(half, false), std::pair(size_t{1}, false));
  EXPECT_EQ(parts(half, true, nn::Recompute::kLayers), std::pair(size_t{1}, false));
  EXPECT_EQ(parts(wide, true), std::pair(size_t{1}, false));
  EXPECT_EQ(parts(half, true, nn::Recompute::kNothing, /*prefetch=*/true), std::pair(size_t{1}, false)) << "not with prefetching";
  const Execution lanes = execution_for(half.model(), nn::Recompute::kNothing, /*may_use_lanes=*/true);
  auto& longest = std::get<data::TokenDocument>(half.train_set.examples[0].content);
  longest.ids.assign(1152, 1);
  EXPECT_TRUE(runs_alongside_others({0}, *half.objective, lanes));
  longest.ids.push_back(1);
  EXPECT_FALSE(runs_alongside_others({0}, *half.objective, lanes));
}

class SideBySide : public testing::TestWithParam<const char*> {};

TEST_P(SideBySide, TheStepsAreTheSame) {
  const auto trained = [](int threads) {
    const test::Threads some(threads);
    GoldenRun run(GetParam(), {"model.dtype=bfloat16", "training.max_steps=3", "training.per_device_train_batch_size=8"});
    run.execution = execution_for(run.model(), nn::Recompute::kNothing, /*may_use_lanes=*/true);
    ReportRecorder reports;
    TrainerState state;
    run.run(state, {&reports});
    return std::pair(tensor_copies(run.parameters()), reports.all.back().loss);
  };
  const auto [alone, alone_loss] = trained(1);
  const auto [alongside, alongside_loss] = trained(2);
  EXPECT_NEAR(alongside_loss, alone_loss, 1e-6 * alone_loss);
  for (size_t i = 0; i < alone.size(); ++i) {
    expect_close(alongside[i], alone[i], 1e-5);
  }
  for (int round = 0; round < 2; ++round) {
    const std::vector<at::Tensor> again = trained(2).first;
    for (size_t i = 0; i < alongside.size(); ++i) {
      expect_equal(again[i], alongside[i], "tensor " + std::to_string(i));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SideBySide, testing::Values("tied", "gqa", "dora", "embeddings", "modules_to_save", "linear"),
                         [](const auto& info) { return std::string(info.param); });

TEST(CausalLm, AStepInPartsIsTheSameStep) {
  const auto first = [](int64_t part_tokens) {
    GoldenRun run("tied", {"training.max_steps=1", "training.max_grad_norm=0", "adapter.lora_dropout=0.3",
                           "training.per_device_train_batch_size=8", "data.shuffle=false"});
    run.execution.part_tokens = part_tokens;
    ReportRecorder reports;
    TrainerState state;
    run.run(state, {&reports});
    FirstStep result{reports.all.at(0).loss, {}};
    for (const nn::Parameter& parameter : run.parameters()) {
      result.gradients.push_back(parameter.tensor.grad().clone());
    }
    return result;
  };
  const FirstStep whole = first(0), parts = first(1);
  EXPECT_NEAR(parts.loss, whole.loss, 1e-6 * whole.loss);
  for (size_t i = 0; i < whole.gradients.size(); ++i) {
    expect_close(parts.gradients[i], whole.gradients[i], 1e-5);
  }
}

TEST(CausalLm, AnAdaptedHeadHasTheSameLossByBothWays) {
  // With lm_head as a target the logits are computed at once; with the adapter switched off, in chunks.
  GoldenRun run("gqa", {"adapter.init_from=null", "adapter.target_modules=[\"q_proj\",\"lm_head\"]", "adapter.lora_dropout=0"});
  nn::LowRank& attached = *run.model().head()->attached<nn::LowRank>().at(0);
  const double adapted = run.loss_sum({0, 1, 2}, 0).item<double>();  // B is zero
  const nn::Batch batch = data::make_batch(run.eval_set, {0, 1});
  const at::Tensor adapted_losses = token_scores(run.model(), batch).loss_S;
  attached.enabled = false;
  EXPECT_NEAR(run.loss_sum({0, 1, 2}, 0).item<double>(), adapted, 1e-5 * adapted);
  expect_close(token_scores(run.model(), batch).loss_S, adapted_losses, 1e-5);
  attached.enabled = true;
  run.loss_sum({0, 1, 2}, 0).backward();
  EXPECT_GT(attached.B_OR.grad().abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace lora::train
