#pragma once
#include "lora/config/run_config.h"

namespace lora::app {

/// Trains the run for a short time with a learning rate that grows at each step, shows how the loss follows it, and suggests a rate.
/// Writes learning_rate.svg and learning_rate.csv to the run's output_dir, and nothing else there. Throws what a run throws, and model
/// Error if the loss is not finite at the first rate.
void find_learning_rate(const config::RunConfig& config);

}  // namespace lora::app
