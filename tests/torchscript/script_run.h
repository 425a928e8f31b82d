#pragma once
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/peft/method.h"
#include "lora/torchscript/load.h"
#include "lora/train/causal_lm.h"
#include "lora/train/trainer.h"
#include "support/golden_run.h"
#include "support/paths.h"

namespace lora::test {

inline const std::filesystem::path kScripts = std::filesystem::path(lora::test::data_folder()) / "torchscript";

/// Options that load a module of tests/data/torchscript/modules with trust.
inline models::ModelOptions script_options(const std::string& module) {
  models::ModelOptions options;
  options.path = kScripts / "modules" / (module + ".pt");
  options.name = module;
  options.format = models::ModelFormat::kTorchScript;
  options.device = "cpu";
  options.trust_torchscript = true;
  return options;
}

inline nn::Host* find_host(nn::Model& model, const std::string& name) {
  for (nn::Host* host : model.hosts()) {
    if (host->name() == name) {
      return host;
    }
  }
  return nullptr;
}

inline peft::LoraOptions lora_on(const std::vector<std::string>& targets) {
  peft::LoraOptions options;
  options.target_modules = {peft::ModuleChoice::Kind::kList, targets, ""};
  return options;
}

/// The sample ids of a batch, from `first` on.
inline nn::Batch batch_of(const std::vector<std::vector<int32_t>>& documents, int64_t first = 0) {
  std::vector<nn::DocumentView> views;
  for (const std::vector<int32_t>& ids : documents) {
    views.push_back({&ids, &ids, first + static_cast<int64_t>(views.size())});
  }
  return nn::make_token_batch(views);
}

/// The logits of documents in one batch.
inline at::Tensor evaluated(const nn::Model& model, const std::vector<std::vector<int32_t>>& documents) {
  const at::NoGradGuard no_grad;
  const nn::Batch batch = batch_of(documents);
  return model.body->hidden(nn::evaluation_pass(batch));
}

/// A training run of a module, built from the library's parts. The base of all kinds of such runs.
struct ModuleRun {
  ModuleRun(std::filesystem::path run_folder, const std::vector<std::string>& overrides)
      : folder(std::move(run_folder)), config(config::load_runs(folder / "run.json", overrides).runs.front()) {}

  void load_data(int64_t vocab_size) {
    const data::LoadContext context{nullptr, vocab_size};
    train_set = data::load_dataset("data.train", config.data.train, config.data, context);
    eval_set = data::load_dataset("data.eval", config.data.eval, config.data, context);
  }

  void attach() { method = peft::attach_adapter(config.adapter, *base.model, "base", config.training.seed); }

  data::BatchOptions train_batches() const {
    const train::TrainOptions& t = config.training;
    return {t.per_device_train_batch_size, false, config.data.max_length, config.data.shuffle, t.seed};
  }
  data::BatchOptions eval_batches(int64_t batch_size) const {
    return {batch_size, false, config.data.max_length, false, config.training.seed};
  }

  /// To be called by each kind of run with its objective.
  void set_objective(std::unique_ptr<train::Objective> own) {
    objective = std::move(own);
    plan = std::make_unique<train::StepPlan>(train::epoch_plan(train_set, train_batches(), *comm::make_single_process()), config.training);
    training = config.training;
    training.schedule.total_steps = plan->total_steps();
    optimizer = optim::make_optimizer(training.optimizer, method->parameters(), training.learning_rate);
  }

  void train(std::vector<train::Hook*> hooks) {
    const auto communicator = comm::make_single_process();
    const std::vector<nn::Parameter>& parameters = method->parameters();
    const train::Execution execution = train::execution_for(*base.model, nn::Recompute::kNothing, /*may_use_lanes=*/false);
    train::StepRunner runner({*objective, train_set, parameters, *communicator}, execution, training.seed);
    train::TrainerState state;
    train::Trainer({*objective, runner, parameters, *optimizer, *communicator, std::move(hooks)}, training, *plan, false).run(state);
  }

  /// The mean loss of the first micro-batch in a training pass.
  at::Tensor first_loss() const {
    const train::MicroBatch first = data::plan_epoch(train_set, train_batches(), 0).front();
    const nn::Batch tokens = data::make_batch(train_set, first);
    return objective->loss_sum(nn::training_pass(tokens, training.seed, 0), 0) / objective->size(first).supervised;
  }

  std::filesystem::path folder;
  config::RunConfig config;
  models::BaseModel base;
  data::Dataset train_set, eval_set;
  std::unique_ptr<peft::Method> method;
  std::unique_ptr<train::Objective> objective;
  std::unique_ptr<train::StepPlan> plan;
  train::TrainOptions training;
  std::unique_ptr<optim::Optimizer> optimizer;
};

/// A case of tests/data/torchscript/runs with the settings of its run.json.
struct ScriptRun : ModuleRun {
  explicit ScriptRun(const std::string& name, const std::vector<std::string>& overrides = {})
      : ModuleRun(kScripts / "runs" / name, overrides) {
    base = torchscript::load_model(config.model);
    attach();
    load_data(base.model->vocab_size());
    set_objective(std::make_unique<train::CausalLm>(train::ObjectiveParts{*base.model, train_set, &eval_set, nullptr, eval_batches(1)}));
  }
};

}  // namespace lora::test
