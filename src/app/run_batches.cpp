#include "app/run_batches.h"

namespace lora::app {

data::BatchOptions train_batches(const config::RunConfig& config, int64_t batch_size) {
  return {batch_size, config.data.packing, config.data.max_length, config.data.shuffle, config.training.seed,
          config.data.tokens_per_batch.value_or(0)};
}

train::StepPlan plan_steps(const config::RunConfig& config, const data::Dataset& train, int64_t batch_size,
                           const comm::Communicator& communicator) {
  return {train::epoch_plan(train, train_batches(config, batch_size), communicator), config.training};
}

data::BatchOptions eval_batches(const config::RunConfig& config) {
  return {config.training.per_device_eval_batch_size, /*packing=*/false, config.data.max_length, /*shuffle=*/false, config.training.seed};
}

}  // namespace lora::app
