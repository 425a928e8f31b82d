#pragma once
#include <limits>

#include "lora/nn/row_model.h"
#include "lora/train/objectives.h"
#include "script_run.h"

namespace lora::test {

/// A case of tests/data/torchscript/row_runs: a network that is given rows whole, built from the library's parts.
struct RowRun {
  explicit RowRun(const std::string& name, const std::vector<std::string>& overrides = {})
      : folder(kScripts / "row_runs" / name), config(config::load_runs(folder / "run.json", overrides).runs.front()) {
    using train::ObjectiveKind;
    const ObjectiveKind kind = config.training.objective;
    const data::LoadContext context{nullptr, std::numeric_limits<int32_t>::max()};
    train_set = data::load_dataset("data.train", config.data.train, config.data, context);
    eval_set = data::load_dataset("data.eval", config.data.eval, config.data, context);
    base = torchscript::load_row_model(config.model, train_set, kind == ObjectiveKind::kModuleLoss);
    if (kind == ObjectiveKind::kSequenceClassification) {
      labels = train_set.raw_labels.kind == data::LabelKind::kNames ? data::find_labels(train_set, std::nullopt)
                                                                    : data::numbered_labels(network().num_outputs());
      data::apply_labels(train_set, *labels);
      data::apply_labels(eval_set, *labels);
    }
    method = peft::attach_lora(*config.adapter, *base.model, "base", config.training.seed);
    const data::BatchOptions batches{config.training.per_device_train_batch_size, false, config.data.max_length, config.data.shuffle,
                                     config.training.seed};
    const data::BatchOptions eval_batches{3, false, config.data.max_length, false, config.training.seed};
    objective = train::objective_entry(kind).make(
        {*base.model, train_set, &eval_set, labels ? &*labels : nullptr, {batches, eval_batches, config.training.seed, {}, {}}});
    plan = std::make_unique<train::StepPlan>(*objective, config.training);
    training = config.training;
    training.schedule.total_steps = plan->total_steps();
    optimizer = optim::make_optimizer(training.optimizer, method->parameters(), training.learning_rate);
  }

  const nn::RowModel& network() const { return *base.model->row_model(); }

  void train(std::vector<train::Hook*> hooks) {
    const auto communicator = comm::make_single_process();
    train::TrainerState state;
    train::Trainer({*objective, method->parameters(), *optimizer, *communicator, std::move(hooks)}, training, *plan, false).run(state);
  }

  std::filesystem::path folder;
  config::RunConfig config;
  data::Dataset train_set, eval_set;
  models::BaseModel base;
  std::optional<data::LabelSet> labels;
  std::unique_ptr<peft::Method> method;
  std::unique_ptr<train::Objective> objective;
  std::unique_ptr<train::StepPlan> plan;
  train::TrainOptions training;
  std::unique_ptr<optim::Optimizer> optimizer;
};

}  // namespace lora::test
