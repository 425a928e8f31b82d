#pragma once
#include <filesystem>
#include <string>

#include "lora/config/run_config.h"

namespace lora::app {

/// The flags of `lora-train --init MODEL DATA`.
struct InitRequest {
  std::string model;                          ///< a model folder, org/name of one in the local Hugging Face cache, or a pipeline
  std::string data;                           ///< a file of rows, a glob pattern, or for a pipeline a folder of images
  std::filesystem::path output = "run.json";  ///< --output: the config file to create
  config::Surroundings surroundings;
};

/// Writes a first config for the model and the rows, and prints each choice with its reason and what could not be decided. Returns the exit
/// code. Throws output Error where the file exists or cannot be written; model Error for a model and data Error for rows that a run
/// could not use; config Error for what --init does not handle (a TorchScript file, standard input).
int init_command(const InitRequest& request);

}  // namespace lora::app
