#pragma once
#include "lora/comm/communicator.h"
#include "lora/config/run_config.h"
#include "lora/data/batches.h"
#include "lora/train/step_plan.h"

namespace lora::app {

/// How the run divides its training set into micro-batches. `batch_size`: the config's, or what was found for "auto".
data::BatchOptions train_batches(const config::RunConfig& config, int64_t batch_size);

/// The optimiser steps of this process of the run over its training set, which must outlive them.
train::StepPlan plan_steps(const config::RunConfig& config, const data::Dataset& train, int64_t batch_size,
                           const comm::Communicator& communicator);

/// How the run divides its evaluation set into batches.
data::BatchOptions eval_batches(const config::RunConfig& config);

}  // namespace lora::app
