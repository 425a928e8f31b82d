#include <cmath>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/train/hooks.h"

namespace lora::train {

EvaluationHook::EvaluationHook(const Objective& objective, EvaluationOptions options, std::vector<metrics::Sink*> sinks)
    : objective_(objective), options_(options), sinks_(std::move(sinks)) {}

bool EvaluationHook::on_start(TrainerState& state) {
  const bool first = state.step == 0 && options_.eval_on_start;
  return is_enough(state) || ((first || state.evaluation_due) && evaluate(state));
}

bool EvaluationHook::on_step(const StepReport& report, TrainerState& state) {
  const bool is_due = options_.eval_steps && report.step % *options_.eval_steps == 0;
  // The last step's belongs to it, so that its checkpoint holds that it was done.
  return (is_due || report.step == report.total_steps) && evaluate(state);
}

void EvaluationHook::on_end(TrainerState& state) {
  if (state.evaluated_step != state.step && interrupt_signal() == 0) {
    evaluate(state);
  }
}

bool EvaluationHook::is_enough(const TrainerState& state) const {
  return options_.early_stopping_patience && state.evaluations_without_gain >= *options_.early_stopping_patience;
}

/// True where early stopping says that it is enough.
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
        "the evaluation loss is not finite: found " + std::to_string(result.loss) + ". No result is written; try a lower learning_rate");
  }
  state.evaluated_step = state.step;
  state.last_eval_loss = result.loss;
  Json row;
  row["step"] = state.step;
  row["epoch"] = state.epoch;
  row["eval_loss"] = result.loss;
  row["eval_perplexity"] = std::exp(result.loss);
  row["eval_num_tokens"] = result.num_supervised;
  for (metrics::Sink* sink : sinks_) {
    sink->write(row);
  }
  if (state.step == 0) {
    return false;  // the untrained model is no candidate
  }
  // Perplexity is the exponential of the loss: both have one order.
  if (!state.best_metric || result.loss < *state.best_metric) {
    state.best_metric = result.loss;
    state.best_step = state.step;
    state.evaluations_without_gain = 0;
    return false;
  }
  ++state.evaluations_without_gain;
  const bool enough = is_enough(state);
  if (enough) {
    log::info("early stopping at step " + std::to_string(state.step) + ": no gain in " + std::to_string(state.evaluations_without_gain) +
              " evaluations, best at step " + std::to_string(*state.best_step));
  }
  return enough;
}

}  // namespace lora::train
