#include "app/data_start.h"

#include <ATen/ATen.h>

#include "app/eva_pass.h"
#include "app/run_batches.h"
#include "app/run_stages.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/data/batches.h"
#include "lora/nn/pass.h"
#include "lora/peft/corda.h"
#include "lora/peft/eva.h"
#include "lora/peft/lora_ga.h"

namespace lora::app {

namespace {

using peft::LoraInit;
using peft::LoraOptions;

/// What every way to start from data needs.
struct StartInputs {
  const config::RunConfig& config;
  const LoraOptions& options;
  RunParts& parts;
  std::vector<train::MicroBatch> batches;  ///< of the first epoch

  nn::Batch tokens_of(const train::MicroBatch& batch) const {
    return data::make_batch(parts.rows->train, batch).to(parts.base.model->device());
  }
};

std::vector<peft::ModuleStart> corda_starts(const StartInputs& inputs) {
  log::info("CorDA: computing the initial adapter from the training data");
  peft::CordaPass pass(inputs.options, *inputs.parts.base.model);
  for (size_t i = 0; i < inputs.batches.size() && !pass.is_complete(); ++i) {
    throw_if_interrupted();
    pass.add(inputs.tokens_of(inputs.batches[i]));
  }
  log::info("CorDA: decomposing the weights by the covariances of " + counted(pass.num_documents(), "document", "documents"));
  return pass.starts();
}

std::vector<peft::ModuleStart> gradient_starts(const StartInputs& inputs) {
  log::info("LoRA-GA: computing the initial adapter from the training data");
  const train::Objective& objective = *inputs.parts.objective;
  const uint64_t seed = inputs.config.training.seed;
  peft::GradientPass pass(inputs.options, *inputs.parts.base.model);
  for (size_t i = 0; i < inputs.batches.size() && !pass.is_complete(); ++i) {
    throw_if_interrupted();
    const int64_t supervised = objective.size(inputs.batches[i]).supervised;
    if (supervised > 0) {
      const nn::Pass training = nn::training_pass(inputs.tokens_of(inputs.batches[i]), seed, static_cast<int64_t>(i));
      pass.add(objective.loss_sum(training, /*step=*/0) / supervised);
    }
  }
  if (pass.num_batches() == 0) {
    data_error("data.train", "no micro-batch of the first epoch has a supervised token, so LoRA-GA has no gradient to start from");
  }
  log::info("LoRA-GA: decomposing the mean gradients of " + counted(pass.num_batches(), "micro-batch", "micro-batches"));
  return pass.starts(seed);
}

}  // namespace

void require_data_start(const config::RunConfig& config, nn::Model& model) {
  const LoraOptions& options = *config.adapter.as<LoraOptions>();
  switch (options.init) {
    case LoraInit::kCorda: {
      const peft::CordaPass tried(options, model);
      return;
    }
    case LoraInit::kLoraGa: {
      const peft::GradientPass tried(options, model);
      return;
    }
    default: {
      const peft::EvaPass tried(options, model);
      return;
    }
  }
}

void attach_from_data(const config::RunConfig& config, RunParts& parts, const std::filesystem::path& checkpoint) {
  const peft::MethodOptions method = adapter_options(config, parts.base);
  const LoraOptions& options = *method.as<LoraOptions>();
  if (options.init == LoraInit::kEva) {
    parts.method = attach_by_eva(config, parts, checkpoint);
    return;
  }
  nn::Model& model = *parts.base.model;
  std::vector<peft::ModuleStart> starts;
  if (checkpoint.empty()) {
    const data::BatchOptions division = train_batches(config, config.training.per_device_train_batch_size);
    const StartInputs inputs{config, options, parts, data::plan_epoch(parts.rows->train, division, 0)};
    starts = options.init == LoraInit::kCorda ? corda_starts(inputs) : gradient_starts(inputs);
  } else {
    starts = peft::saved_starts(options, model, checkpoint);
  }
  const peft::BaseReference base = base_reference(config, parts.base, parts.rows->label_set());
  parts.method = peft::attach_with_starts(options, starts, model, base, config.training.seed);
}

}  // namespace lora::app
