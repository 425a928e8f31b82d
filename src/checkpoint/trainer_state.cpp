#include "checkpoint/trainer_state.h"

namespace lora::checkpoint {
namespace {

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

/// Reads a counter, which is never negative.
int64_t count(const JsonReader& reader, const std::string& key) {
  const int64_t value = reader.integer(key);
  if (value < 0) {
    reader.fail(key, "a whole number of at least 0");
  }
  return value;
}

}  // namespace

Json to_json(const TrainerState& state) {
  return {{"step", state.step},
          {"epoch", state.epoch},
          {"best_metric", or_null(state.best_metric)},
          {"best_step", or_null(state.best_step)},
          {"evaluations_without_gain", state.evaluations_without_gain},
          {"loss_scale", state.loss_scale},
          {"loss_scale_growth", state.loss_scale_growth},
          {"batch_halvings", state.batch_halvings},
          {"batch_size", state.batch_size},
          {"supervised_since_log", state.supervised_since_log},
          {"input_since_log", state.input_since_log},
          {"evaluated_step", or_null(state.evaluated_step)},
          {"last_eval_loss", or_null(state.last_eval_loss)},
          {"evaluation_due", state.evaluation_due},
          {"run_id", state.run_id}};
}

TrainerState trainer_state_from(const Json& json, const fs::path& file) {
  const JsonReader reader(json, file.string(), ErrorKind::kModel);
  TrainerState state;
  state.step = count(reader, "step");
  state.epoch = reader.number("epoch");
  if (reader.has("best_metric")) {
    state.best_metric = reader.number("best_metric");
  }
  if (reader.has("best_step")) {
    state.best_step = count(reader, "best_step");
  }
  state.evaluations_without_gain = count(reader, "evaluations_without_gain");
  state.loss_scale = reader.number("loss_scale");
  state.loss_scale_growth = count(reader, "loss_scale_growth");
  state.batch_halvings = reader.has("batch_halvings") ? count(reader, "batch_halvings") : 0;
  state.batch_size = reader.has("batch_size") ? count(reader, "batch_size") : 0;
  state.supervised_since_log = count(reader, "supervised_since_log");
  state.input_since_log = count(reader, "input_since_log");
  if (reader.has("evaluated_step")) {
    state.evaluated_step = count(reader, "evaluated_step");
  }
  if (reader.has("last_eval_loss")) {
    state.last_eval_loss = reader.number("last_eval_loss");
  }
  state.evaluation_due = reader.boolean("evaluation_due", false);
  state.run_id = reader.string("run_id");
  return state;
}

}  // namespace lora::checkpoint
