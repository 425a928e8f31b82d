#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/config/run_config.h"

namespace lora::app {

/// The flags of `lora-train`.
struct TrainRequest {
  std::filesystem::path config;
  std::vector<std::string> overrides;  ///< --set a.b=value
  std::vector<std::string> sweeps;     ///< --sweep a.b=value,value
  bool sweep_halving = false;          ///< stop the worse half of a sweep's runs early
  bool find_learning_rate = false;     ///< test learning rates instead of training
  std::string resume = "auto";         ///< auto, never, or a checkpoint folder
  bool overwrite = false;              ///< remove another run's files from the output folder
  bool allow_other_base = false;       ///< adapter.init_from may have been trained on another base model
  bool dry_run = false;
  bool print_config = false;
  bool print_schema = false;
  config::Surroundings surroundings;
};

/// Trains the runs of the config. Returns the exit code; throws lora::Error and Interrupted.
int train_command(const TrainRequest& request);

}  // namespace lora::app
