#pragma once
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "lora/peft/task.h"
#include "lora/train/causal_lm.h"
#include "lora/train/hooks.h"
#include "lora/train/objectives.h"
#include "lora/train/sequence_classification.h"
#include "lora/train/trainer.h"
#include "support/golden.h"

namespace lora::test {

/// Keeps the rows of a run.
class CollectingSink : public metrics::Sink {
 public:
  void write(const Json& row) override { rows.push_back(row); }
  std::vector<Json> rows;
};

/// A golden case with everything that its run.json asks for, built from the library's parts.
class GoldenRun {
 public:
  /// `prefetch`: as train::execution_for has it.
  explicit GoldenRun(const std::string& name, const std::vector<std::string>& overrides = {}, std::optional<bool> prefetch = {})
      : golden(name),
        config(config::load_runs(golden.folder / "run.json", overrides).runs.front()),
        entry(train::objective_entry(config.training.objective)) {
    const data::LoadContext context{nullptr, models::read_vocab_size(config.model.path)};
    train_set = data::load_dataset("data.train", config.data.train, config.data, context);
    eval_set = data::load_dataset("data.eval", config.data.eval, config.data, context);
    if (entry.labels_documents) {
      load_classifier();
    } else {
      base = models::load_base_model(config.model, 42);
    }
    method = config.adapter ? peft::attach_adapter(config.adapter, model(), "base", config.training.seed)
                            : peft::attach_full(model(), {base.config, base.file_names}, config.training.train_parameters);
    const train::TrainOptions& t = config.training;
    batches = {t.per_device_train_batch_size,           config.data.packing, config.data.max_length, config.data.shuffle, t.seed,
               config.data.tokens_per_batch.value_or(0)};
    const data::BatchOptions eval_batches{t.per_device_eval_batch_size, false, config.data.max_length, false, t.seed};
    objective = entry.make({model(), train_set, &eval_set, labels ? &*labels : nullptr, eval_batches});
    execution = train::execution_for(model(), nn::Recompute::kNothing, /*may_use_lanes=*/false, prefetch);
    plan = std::make_unique<train::StepPlan>(train::epoch_plan(train_set, batches, *comm::make_single_process()), t);
    training = t;
    training.schedule.total_steps = plan->total_steps();
    training.schedule.warmup_steps = static_cast<int64_t>(
        t.warmup_steps < 1 ? std::ceil(std::max(t.warmup_steps, t.warmup_ratio) * static_cast<double>(plan->total_steps()))
                           : t.warmup_steps);
    optimizer = optim::make_optimizer(training.optimizer, method->parameters(), training.learning_rate);
  }

  nn::Model& model() { return *base.model; }
  const std::vector<nn::Parameter>& parameters() const { return method->parameters(); }
  /// A parameter's key in expected.safetensors.
  std::string key_of(const nn::Parameter& parameter) const { return (config.adapter ? "base_model.model." : "") + parameter.name; }

  train::StepRunner runner() {
    return {{*objective, train_set, parameters(), *communicator}, execution, training.seed};
  }
  void run(train::TrainerState& state, std::vector<train::Hook*> hooks) {
    train::StepRunner own = runner();
    run(own, state, std::move(hooks));
  }
  void run(train::StepRunner& runner, train::TrainerState& state, std::vector<train::Hook*> hooks) {
    train::Trainer({*objective, runner, parameters(), *optimizer, *communicator, std::move(hooks), method->step_rule(plan->total_steps())},
                   training, *plan, false)
        .run(state);
  }
  /// The sum of the losses of some examples in a training pass.
  at::Tensor loss_sum(const train::MicroBatch& batch, int64_t step) {
    const nn::Batch tokens = data::make_batch(train_set, batch);
    return objective->loss_sum(nn::training_pass(tokens, training.seed, step, execution.recompute), step);
  }

  Golden golden;
  config::RunConfig config;
  const train::ObjectiveEntry& entry;
  models::BaseModel base;
  std::unique_ptr<peft::Method> method;
  data::Dataset train_set, eval_set;
  std::optional<data::LabelSet> labels;  ///< of a classification
  std::unique_ptr<train::Objective> objective;
  data::BatchOptions batches;  ///< of training
  train::Execution execution;
  std::unique_ptr<train::StepPlan> plan;
  train::TrainOptions training;  ///< with the schedule's steps
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<comm::Communicator> communicator = comm::make_single_process();

 private:
  void load_classifier() {
    const std::filesystem::path file = config.model.path / "config.json";
    const Json json = read_json(file, ErrorKind::kModel);
    labels = data::find_labels(train_set, data::read_label_set(JsonReader(json, file.string(), ErrorKind::kModel)));
    train_set = data::resolve_labels(std::move(train_set), *labels);
    eval_set = data::resolve_labels(std::move(eval_set), *labels);
    base = models::load_base_model(config.model, 42, models::SequenceHeadRequest{labels->num_labels()});
    if (config.adapter) {
      config.adapter = peft::for_sequence_classification(config.adapter, {});
    }
  }
};

/// Mean loss of each document of a batch, which is computed in one pass.
inline std::vector<double> document_losses(nn::Model& model, const nn::Batch& batch) {
  const at::Tensor losses = train::token_scores(model, batch).loss_S.to(at::kDouble);
  const nn::Batch read = nn::with_virtual_tokens(batch, model.body->virtual_tokens());
  std::vector<double> result;
  int64_t begin = 0;
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    const at::Tensor labels = read.labels().labels_T.slice(0, read.layout.host_offsets[d], read.layout.host_offsets[d + 1]);
    const int64_t count = (labels != nn::kIgnoreLabel).sum().item<int64_t>();
    result.push_back(losses.slice(0, begin, begin + count).mean().item<double>());
    begin += count;
  }
  return result;
}

}  // namespace lora::test
