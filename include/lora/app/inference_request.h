#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/models/options.h"

namespace lora::app {

/// The flags of every command that runs a model.
struct InferenceRequest {
  std::string model;                  ///< --model: folder or org/name
  std::vector<std::string> adapters;  ///< --adapter: DIR or NAME=DIR; without NAME the name is "default"
  std::string tokenizer;              ///< --tokenizer; empty: the model's folder
  std::string dtype = "auto";         ///< --dtype
  std::string device = "auto";        ///< --device
  std::string quantize;               ///< --quantize: the weights of projections are quantised while the model is loaded; empty: no
  std::optional<models::Quantization> quantization;  ///< the same with all options; none: as `quantize` says
  bool allow_other_base = false;      ///< --allow-other-base: warn of adapters of another base model instead of refusing them
  config::Surroundings surroundings;

  // For a TorchScript --model:
  bool trust_torchscript = false;   ///< --trust-torchscript: the file's code may be run
  std::vector<std::string> inputs;  ///< --inputs; empty: by the arguments' names
  std::string output;               ///< --output-field; empty: the logits

  // For a text-to-image --model:
  std::string variant;          ///< --variant: of its weight files; empty: the plain ones, or the only ones
  std::string vae;              ///< --vae: folder of another VAE; empty: its own
  std::string prediction_type;  ///< --prediction-type; empty: as its scheduler's config says
  std::optional<int64_t> clip_skip;  ///< --clip-skip: the layer of its CLIP encoders that is used; none: the usual one
};

}  // namespace lora::app
