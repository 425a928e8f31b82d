#include "lora/train/hooks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lora/base/interrupt.h"
#include "support/expect_error.h"
#include "support/fake_objective.h"
#include "support/temporary_folder.h"

namespace lora::train {
namespace {

class Rows : public metrics::Sink {
 public:
  void write(const Json& row) override { rows.push_back(row); }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> all;
    for (const Json& row : rows) {
      all.push_back(row["step"].get<int64_t>());
    }
    return all;
  }
  std::vector<Json> rows;
};

/// A run of `steps` steps that only calls hooks.
class Drill : public test::FakeRun {
 public:
  explicit Drill(int64_t steps) : w_(at::zeros({1}, at::kFloat).requires_grad_(true)), parameters_{{"w", w_}} {
    options_.max_steps = steps;
    options_.schedule.kind = optim::ScheduleKind::kConstant;
    optimizer_ = optim::make_optimizer(options_.optimizer, parameters_, options_.learning_rate);
    objective.loss = [this](const MicroBatch&, int64_t step) { return w_.sum() + static_cast<double>(step + 1); };
  }
  void run(std::vector<Hook*> hooks) {
    StepPlan plan(epochs, options_);
    FakeRun::run(parameters_, *optimizer_, options_, plan, std::move(hooks));
  }
  /// Evaluations return these losses, one after the other.
  void evaluations(std::vector<double> losses) {
    objective.evaluation = [this, losses] {
      const double loss = losses.at(evaluated++);
      return EvalResult{loss, 5, "eval_num_tokens", {{"eval_perplexity", std::exp(loss)}, {"eval_accuracy", loss / 10}}};
    };
  }
  const optim::Optimizer& optimizer() const { return *optimizer_; }

  Rows rows;
  size_t evaluated = 0;

 private:
  at::Tensor w_;
  std::vector<nn::Parameter> parameters_;
  TrainOptions options_;
  std::unique_ptr<optim::Optimizer> optimizer_;
};

TEST(LoggingHook, WritesEverySoManyStepsAndTheLast) {
  Drill drill(7);
  LoggingHook hook(3, {&drill.rows}, [] { return int64_t{123}; });
  drill.run({&hook});
  EXPECT_EQ(drill.rows.steps(), (std::vector<int64_t>{3, 6, 7}));
  const Json& second = drill.rows.rows[1];
  std::vector<std::string> keys;
  for (const auto& [key, value] : second.items()) {
    keys.push_back(key);
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"step", "epoch", "loss", "grad_norm", "learning_rate", "num_tokens", "num_input_tokens",
                                            "tokens_per_second", "peak_memory_bytes"}));
  EXPECT_NEAR(second["loss"].get<double>(), 6.0, 0.01);  // of that step only
  EXPECT_EQ(second["num_tokens"], 3);                    // since the row before
  EXPECT_EQ(second["num_input_tokens"], 6);
  EXPECT_EQ(second["epoch"], 6.0);
  EXPECT_EQ(second["peak_memory_bytes"], 123);
  EXPECT_EQ(drill.rows.rows[2]["num_tokens"], 1);
  EXPECT_EQ(drill.state.supervised_since_log, 0);
}

TEST(LoggingHook, CountsGoOnWhereARunWasCut) {
  Drill drill(4);
  drill.state.step = 2;
  drill.state.supervised_since_log = 2;
  drill.state.input_since_log = 4;
  LoggingHook hook(4, {&drill.rows}, [] { return int64_t{0}; });
  drill.run({&hook});
  ASSERT_EQ(drill.rows.steps(), (std::vector<int64_t>{4}));
  EXPECT_EQ(drill.rows.rows[0]["num_tokens"], 4);
  EXPECT_EQ(drill.rows.rows[0]["num_input_tokens"], 8);
}

TEST(EvaluationHook, EvaluatesByStepsAndAtTheEnd) {
  Drill drill(5);
  drill.evaluations({3.0, 2.0, 2.5});
  EvaluationHook hook(drill.objective, {every_steps(2), false, std::nullopt}, {&drill.rows});
  drill.run({&hook});
  EXPECT_EQ(drill.rows.steps(), (std::vector<int64_t>{2, 4, 5}));
  EXPECT_EQ(drill.rows.rows[1]["eval_loss"], 2.0);
  EXPECT_DOUBLE_EQ(drill.rows.rows[1]["eval_perplexity"].get<double>(), std::exp(2.0));
  EXPECT_EQ(drill.rows.rows[1]["eval_num_tokens"], 5);
  EXPECT_FALSE(drill.rows.rows[1].contains("loss"));
  EXPECT_EQ(drill.state.best_metric, 2.0);
  EXPECT_EQ(drill.state.best_step, 4);
  EXPECT_EQ(drill.state.evaluations_without_gain, 1);
  EXPECT_EQ(drill.state.last_eval_loss, 2.5);
  EXPECT_EQ(drill.state.evaluated_step, 5);

  Drill resumed(5);  // from the last checkpoint: nothing is left to do
  resumed.state = drill.state;
  EvaluationHook again(resumed.objective, {every_steps(2), false, std::nullopt}, {&resumed.rows});
  resumed.run({&again});
  EXPECT_TRUE(resumed.rows.rows.empty());

  Drill once(4);  // the last step's evaluation is not made twice
  once.evaluations({3.0, 2.0});
  EvaluationHook by_two(once.objective, {every_steps(2), false, std::nullopt}, {&once.rows});
  once.run({&by_two});
  EXPECT_EQ(once.rows.steps(), (std::vector<int64_t>{2, 4}));

  Drill only_end(4);
  only_end.evaluations({3.0});
  EvaluationHook at_end(only_end.objective, {}, {&only_end.rows});
  only_end.run({&at_end});
  EXPECT_EQ(only_end.rows.steps(), (std::vector<int64_t>{4}));
}

TEST(EvaluationHook, TheBestIsTheGreatestOfAMetricThatShallGrow) {
  Drill drill(5);
  drill.evaluations({3.0, 4.0, NAN, 2.0, 3.9});
  EvaluationHook hook(drill.objective, {every_steps(1), false, std::nullopt, "eval_accuracy"}, {&drill.rows});
  drill.objective.evaluation = [evaluate = drill.objective.evaluation] {
    EvalResult result = evaluate();
    result.loss = 1.0;  // a metric without a value is neither an error nor an improvement
    return result;
  };
  drill.run({&hook});
  EXPECT_EQ(drill.state.best_metric, 0.4);
  EXPECT_EQ(drill.state.best_step, 2);
  EXPECT_EQ(drill.state.evaluations_without_gain, 3);
}

TEST(EvaluationHook, AMetricThatTheEvaluationDoesNotMeasureIsAnError) {
  Drill drill(2);
  drill.evaluations({3.0, 2.0});
  EvaluationHook hook(drill.objective, {every_steps(1), false, std::nullopt, "eval_f1"}, {});
  test::expect_error(ErrorKind::kUnforeseen, {"training.metric_for_best_model", "'eval_f1'", "eval_loss, eval_perplexity, eval_accuracy"},
                     [&] { drill.run({&hook}); });
}

TEST(EvaluationHook, TheUntrainedModelIsNoCandidate) {
  Drill drill(2);
  drill.evaluations({1.0, 2.0});
  EvaluationHook hook(drill.objective, {{}, true, 1}, {&drill.rows});
  drill.run({&hook});
  EXPECT_EQ(drill.rows.steps(), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(drill.state.best_step, 2);
}

TEST(EvaluationHook, StopsEarlyAfterSoManyEvaluationsWithoutGain) {
  Drill drill(20);
  drill.evaluations({5.0, 4.0, 4.0, 4.2, 1.0});  // equal to the best is no improvement
  EvaluationHook hook(drill.objective, {every_steps(1), false, 2}, {&drill.rows});
  drill.run({&hook});
  EXPECT_EQ(drill.state.step, 4);
  EXPECT_EQ(drill.evaluated, 4U);
  EXPECT_EQ(drill.state.best_metric, 4.0);
  EXPECT_EQ(drill.state.best_step, 2);

  Drill gains(6);
  gains.evaluations({5.0, 5.5, 4.0, 4.5, 3.0, 3.5});
  EvaluationHook patient(gains.objective, {every_steps(1), false, 2}, {&gains.rows});
  gains.run({&patient});
  EXPECT_EQ(gains.state.step, 6);
  EXPECT_EQ(gains.state.best_step, 5);

  Drill resumed(6);  // the counter is part of the state
  resumed.state.step = 3;
  resumed.state.best_metric = 1.0;
  resumed.state.best_step = 1;
  resumed.state.evaluations_without_gain = 1;
  resumed.evaluations({2.0});
  EvaluationHook goes_on(resumed.objective, {every_steps(1), false, 2}, {&resumed.rows});
  resumed.run({&goes_on});
  EXPECT_EQ(resumed.state.step, 4);

  Drill over(6);  // it had ended early: a resumed run does not continue
  over.state = resumed.state;
  EvaluationHook ended(over.objective, {every_steps(1), false, 2}, {&over.rows});
  over.run({&ended});
  EXPECT_EQ(over.state.step, 4);
  EXPECT_EQ(over.evaluated, 0U);
}

TEST(EvaluationHook, AnInterruptedEvaluationStaysDue) {
  Drill drill(8);
  drill.state.step = 4;
  drill.objective.evaluation = []() -> EvalResult { throw Interrupted{15}; };
  EvaluationHook cut(drill.objective, {every_steps(2), false, std::nullopt}, {&drill.rows});
  StepReport report;
  report.step = 4;
  EXPECT_FALSE(cut.on_step(report, drill.state));
  EXPECT_TRUE(drill.state.evaluation_due);
  EXPECT_TRUE(drill.rows.rows.empty());

  drill.evaluations({2.0, 1.0});
  EvaluationHook next(drill.objective, {every_steps(2), false, std::nullopt}, {&drill.rows});
  EXPECT_FALSE(next.on_start(drill.state));  // the resumed run starts with it
  EXPECT_FALSE(drill.state.evaluation_due);
  EXPECT_EQ(drill.rows.steps(), (std::vector<int64_t>{4}));
  EXPECT_EQ(drill.state.best_step, 4);
  EXPECT_FALSE(next.on_start(drill.state));  // and not again
  EXPECT_EQ(drill.rows.rows.size(), 1U);

  drill.state.evaluation_due = true;  // a due evaluation may end the run at once
  drill.state.evaluations_without_gain = 2;
  drill.evaluated = 0;
  EvaluationHook impatient(drill.objective, {every_steps(2), false, 3}, {&drill.rows});
  EXPECT_TRUE(impatient.on_start(drill.state));
}

TEST(EvaluationHook, ANonFiniteLossEndsTheRun) {
  for (const double loss : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Drill drill(3);
    drill.evaluations({1.0, loss});
    EvaluationHook hook(drill.objective, {every_steps(1), false, std::nullopt}, {&drill.rows});
    test::expect_error(ErrorKind::kDiverged, {"step 2", "evaluation loss is not finite"}, [&] { drill.run({&hook}); });
    EXPECT_EQ(drill.rows.rows.size(), 1U);
  }
}

CheckpointHook::SaveResult save_mark() {
  return [](const std::filesystem::path& folder) { std::ofstream(folder / "result") << "x"; };
}

TEST(CheckpointHook, SavesByStepsAndAfterTheLast) {
  const test::TemporaryFolder folder;
  Drill drill(5);
  CheckpointHook hook(folder.path(), {every_steps(2), std::nullopt, false}, drill.optimizer(), save_mark());
  drill.run({&hook});
  EXPECT_EQ(checkpoint::steps(folder.path()), (std::vector<int64_t>{2, 4, 5}));
  for (const int64_t step : {2, 4, 5}) {
    const std::filesystem::path saved = checkpoint::folder(folder.path(), step);
    EXPECT_EQ(checkpoint::fault(saved), "");
    EXPECT_EQ(checkpoint::load_state(saved).step, step);
    EXPECT_TRUE(std::filesystem::exists(saved / "result"));
  }
}

TEST(CheckpointHook, KeepsTheBestAndTheNewest) {
  const test::TemporaryFolder folder;
  Drill drill(6);
  drill.evaluations({5.0, 4.0, 2.0, 3.0, 3.0, 3.0});
  EvaluationHook evaluation(drill.objective, {every_steps(1), false, std::nullopt}, {});
  CheckpointHook hook(folder.path(), {every_steps(2), 2, true}, drill.optimizer(), save_mark());
  drill.run({&evaluation, &hook});
  EXPECT_EQ(checkpoint::steps(folder.path()), (std::vector<int64_t>{3, 6}));  // 3 is not a multiple of save_steps, but the best
  EXPECT_EQ(checkpoint::load_state(checkpoint::folder(folder.path(), 3)).best_step, 3);
}

TEST(CheckpointHook, WithoutSaveStepsNothingIsWritten) {
  const test::TemporaryFolder folder;
  Drill drill(3);
  CheckpointHook hook(folder.path(), {Interval{}, std::nullopt, false}, drill.optimizer(), save_mark());
  drill.run({&hook});
  EXPECT_TRUE(checkpoint::steps(folder.path()).empty());
}

}  // namespace
}  // namespace lora::train
