#pragma once
#include <string>
#include <vector>

#include "lora/config/run_config.h"

namespace lora::app {

/// The flags that every command which runs a model has.
struct InferenceRequest {
  std::string model;                  ///< --model: folder or org/name
  std::vector<std::string> adapters;  ///< --adapter: DIR, or NAME=DIR; DIR alone is called "default"
  std::string tokenizer;              ///< --tokenizer; empty: the model's folder
  std::string dtype = "auto";         ///< --dtype
  std::string device = "auto";        ///< --device
  bool allow_other_base = false;      ///< --allow-other-base: adapters of another base are warned of, not refused
  config::Surroundings surroundings;

  // Of a TorchScript --model:
  bool trust_torchscript = false;   ///< --trust-torchscript: a .pt file's code may be run
  std::vector<std::string> inputs;  ///< --inputs of a TorchScript model; empty: by its arguments' names
  std::string output;               ///< --output-field of it; empty: the logits
};

}  // namespace lora::app
