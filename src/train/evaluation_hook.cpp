#include <cmath>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/train/hooks.h"
#include "lora/train/objectives.h"

namespace lora::train {

namespace {

/// The value of a metric by its key in the metrics row. An unknown name is a programming error: the config's value was checked against
/// the objective's metric_names() before training.
double value_of(const EvalResult& result, const std::string& metric) {
  std::vector<std::string> known{"eval_loss"};
  if (metric == known.front()) {
    return result.loss;
  }
  for (const auto& [name, value] : result.metrics) {
    if (name == metric) {
      return value;
    }
    known.push_back(name);
  }
  throw Error(ErrorKind::kUnforeseen, "training.metric_for_best_model",
              "this evaluation does not measure it: found '" + metric + "', expected one of " + join(known));
}

}  // namespace

EvaluationHook::EvaluationHook(const Objective& objective, EvaluationOptions options, std::vector<metrics::Sink*> sinks)
    : objective_(objective), options_(std::move(options)), sinks_(std::move(sinks)) {}

bool EvaluationHook::on_start(TrainerState& state) {
  const bool first = state.step == 0 && options_.eval_on_start;
  if (is_enough(state)) {
    log::info("Early stopping ended this run after step " + std::to_string(state.step) +
              ". To continue it, increase training.early_stopping_patience.");
    return true;
  }
  return (first || state.evaluation_due) && evaluate(state);
}

bool EvaluationHook::on_step(const StepReport& report, TrainerState& state) {
  // The evaluation after the last step belongs to it, so that its checkpoint records that it was done.
  const bool is_last = options_.at_end && report.step == report.total_steps;
  return (is_last || options_.interval.is_due(report)) && evaluate(state);
}

void EvaluationHook::on_end(TrainerState& state) {
  if (options_.at_end && state.evaluated_step != state.step) {
    evaluate(state);
  }
}

bool EvaluationHook::is_enough(const TrainerState& state) const {
  return options_.early_stopping_patience && state.evaluations_without_gain >= *options_.early_stopping_patience;
}

void EvaluationHook::write(const EvalResult& result, const TrainerState& state) const {
  Json row;
  row["step"] = state.step;
  row["epoch"] = state.epoch;
  row["eval_loss"] = result.loss;
  for (const auto& [name, value] : result.metrics) {
    row[name] = value;
  }
  row[result.supervised_name] = result.num_supervised;
  for (metrics::Sink* sink : sinks_) {
    sink->write(row);
  }
}

/// A metric without a value is no improvement.
bool EvaluationHook::is_better(double metric, const TrainerState& state) const {
  if (std::isnan(metric) || !state.best_metric) {
    return !std::isnan(metric);
  }
  return greater_is_better(options_.metric_for_best_model) ? metric > *state.best_metric : metric < *state.best_metric;
}

/// Returns true if early stopping ends the run.
bool EvaluationHook::evaluate(TrainerState& state) {
  state.evaluation_due = false;
  EvalResult result;
  try {
    result = objective_.evaluate();
  } catch (const Interrupted&) {
    state.evaluation_due = true;
    return false;
  }
  if (!std::isfinite(result.loss)) {
    throw Error(
        ErrorKind::kDiverged, "step " + std::to_string(state.step),
        "the evaluation loss is not finite: found " + std::to_string(result.loss) + ". No result is written; try a lower learning_rate.");
  }
  state.evaluated_step = state.step;
  state.last_eval_loss = result.loss;
  write(result, state);
  if (state.step == 0) {
    return false;  // the untrained model is not a candidate for the best
  }
  const double metric = value_of(result, options_.metric_for_best_model);
  if (is_better(metric, state)) {
    state.best_metric = metric;
    state.best_step = state.step;
    state.evaluations_without_gain = 0;
    return false;
  }
  ++state.evaluations_without_gain;
  const bool enough = is_enough(state);
  if (enough) {
    log::info("Early stopping at step " + std::to_string(state.step) + ": no improvement in " +
              std::to_string(state.evaluations_without_gain) + " evaluations, " +
              (state.best_step ? "best at step " + std::to_string(*state.best_step) : "never a value"));
  }
  return enough;
}

}  // namespace lora::train
