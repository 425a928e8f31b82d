// When a run evaluates, saves and logs: as transformers' Trainer does with the same keys (scripts/golden/strategies.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/config/run_config.h"
#include "lora/optim/schedule.h"
#include "lora/train/hooks.h"
#include "support/fake_objective.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::train {
namespace {

class Steps : public metrics::Sink {
 public:
  void write(const Json& row) override { steps.push_back(row["step"]); }
  Json steps = Json::array();
};

Json strategies() {
  return read_json(std::filesystem::path(lora::test::data_folder()) / "train/strategies.json", ErrorKind::kData);
}

/// The options of a config whose training section has these keys.
TrainOptions options_of_training(const test::TemporaryFolder& folder, Json training) {
  for (const auto& [theirs, ours] : {std::pair{"patience", "early_stopping_patience"}, {"losses", ""}}) {
    if (training.contains(theirs) && *ours != '\0') {
      training[ours] = training[theirs];
    }
    training.erase(theirs);
  }
  Json config = Json::parse(R"({"model": {"path": "base"}, "adapter": {"target_modules": ["q_proj"]}, "output_dir": "out",
    "data": {"train": [{"path": "rows.jsonl", "format": "tokens"}], "eval": [{"path": "rows.jsonl", "format": "tokens"}]}})");
  config["training"] = training;
  return config::load_runs(folder.write("run.json", config.dump()), {}).runs.front().training;
}

/// What a run with these options does, over epochs of seven micro-batches. `stops_at`: the step after which it is resumed; 0: none.
Json run_with(TrainOptions options, std::vector<double> losses, const test::TemporaryFolder& folder, int64_t stops_at) {
  options.schedule.kind = optim::ScheduleKind::kConstant;  // it needs no number of steps, which is not filled in here
  std::filesystem::create_directories(folder.path() / "out");
  test::FakeRun run;
  at::Tensor w = at::zeros({1}, at::kFloat).requires_grad_(true);
  const std::vector<nn::Parameter> parameters{{"w", w}};
  run.epochs = [](int64_t) { return test::single_batches(7); };
  run.objective.loss = [w](const MicroBatch&, int64_t) { return w.sum() + 1.0; };
  run.objective.evaluation = [&losses] {
    const double loss = losses.empty() ? 1.0 : losses.front();
    losses.empty() ? void() : void(losses.erase(losses.begin()));
    return EvalResult{loss, 5, "eval_num_tokens", {}};
  };
  const auto optimizer = optim::make_optimizer(options.optimizer, parameters, options.learning_rate);
  TrainerState& state = run.state;
  Steps evaluated, logged;
  Json saved = Json::array();
  for (const bool is_second : {false, true}) {
    if (is_second && stops_at == 0) {
      continue;
    }
    const int64_t total = StepPlan(run.epochs, options).total_steps();
    TrainOptions own = options;
    own.max_steps = stops_at > 0 && !is_second ? stops_at : options.max_steps;
    StepPlan plan(run.epochs, own);
    LoggingHook logging(whole_steps(options.logging_steps, total), {&logged}, [] { return int64_t{0}; });
    EvaluationHook evaluation(
        run.objective,
        {eval_interval(options, total), false, options.early_stopping_patience, "eval_loss", options.eval_strategy != Strategy::kNo},
        {&evaluated});
    CheckpointHook saving(folder.path() / "out", {save_interval(options, total), std::nullopt, false}, *optimizer,
                          [&](const std::filesystem::path&) { saved.push_back(state.step); });
    run.run(parameters, *optimizer, options, plan, {&logging, &evaluation, &saving});
  }
  return {{"steps", state.step}, {"evaluated", evaluated.steps}, {"saved", saved}, {"logged", logged.steps}};
}

TEST(Strategies, AreTransformersOwn) {
  const Json golden = strategies();
  for (const Json& expected : golden["cases"]) {
    const test::TemporaryFolder folder;
    const Json& training = expected["training"];
    Json found = run_with(options_of_training(folder, training), training.value("losses", std::vector<double>()), folder, 0);
    EXPECT_EQ(found["steps"], expected["steps"]) << training;
    EXPECT_EQ(found["evaluated"], expected["evaluated"]) << training;
    EXPECT_EQ(found["saved"], expected["saved"]) << training;
    Json logged = expected["logged"];  // plus the last step, which is also logged here
    if (training.contains("logging_steps") && (logged.empty() || logged.back() != expected["steps"])) {
      logged.push_back(expected["steps"]);
    }
    if (training.contains("logging_steps")) {
      EXPECT_EQ(found["logged"], logged) << training;
    }
  }
}

TEST(Strategies, ByEpochHoldForARunThatGoesOnInAnEpoch) {
  const test::TemporaryFolder folder;
  const TrainOptions options =
      options_of_training(folder, {{"num_train_epochs", 3}, {"eval_strategy", "epoch"}, {"save_strategy", "epoch"}});
  const Json found = run_with(options, {}, folder, 10);
  EXPECT_EQ(found["evaluated"], (Json{7, 10, 14, 21})) << "after its first part, and then at the ends of epochs";
  EXPECT_EQ(found["saved"], (Json{7, 10, 14, 21}));
}

TEST(Strategies, ALongerRunFollowsItsOwnSchedule) {
  const Json golden = strategies();
  for (const Json& expected : golden["longer"]) {
    const test::TemporaryFolder folder;
    Json training = expected["training"];
    const auto total = expected["lengths"][1].get<int64_t>(), done = expected["lengths"][0].get<int64_t>();
    training["max_steps"] = total;
    training["learning_rate"] = 1e-3;
    const TrainOptions options = options_of_training(folder, training);
    optim::ScheduleOptions schedule = options.schedule;
    schedule.total_steps = total;
    schedule.warmup_steps =
        static_cast<int64_t>(options.warmup_steps < 1 ? options.warmup_steps * static_cast<double>(total) : options.warmup_steps);
    // transformers' first step after a checkpoint still has the rate at which the shorter run ended; ours has the longer run's at once.
    for (size_t i = 1; i < expected["learning_rates"].size(); ++i) {
      const double rate = 1e-3 * optim::schedule_factor(schedule, 1e-3, done + static_cast<int64_t>(i));
      EXPECT_NEAR(rate, expected["learning_rates"][i].get<double>(), 1e-12) << training << i;
    }
  }
}

}  // namespace
}  // namespace lora::train
