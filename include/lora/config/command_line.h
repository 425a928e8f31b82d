#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/models/options.h"
#include "lora/peft/options.h"

// What the companions' flags name, by the rules of the run's config.
namespace lora::config {

/// What a companion's flags say of its model, as the config's model section does.
struct ModelFlags {
  std::string model;           ///< --model: a folder, org/name of a model in the local Hugging Face cache, or a .pt file
  std::string tokenizer = {};  ///< a folder or file; empty: the model's folder
  std::string dtype = "auto";
  std::string device = "auto";
  bool trust_torchscript = false;
  std::vector<std::string> inputs = {};  ///< of a TorchScript model; empty: by its arguments' names
  std::string output = {};               ///< of a TorchScript model; empty: the logits
  const char* flag = "--model";          ///< which names the model
};

/// The model that the flags name. Paths are relative to the working folder. Throws the Error that the section would give:
/// config, or model for a folder not there.
models::ModelOptions read_model_flags(const ModelFlags& flags, const Surroundings& surroundings);

/// The options of an adapter folder by its adapter_config.json, with init_from set to the folder: attached with them,
/// a model has that adapter. Throws model Error, naming the flag --adapter, for a folder that is none, another method than LoRA,
/// keys that this version does not have, or an adapter of PiSSA with a random start, which cannot be made again.
peft::LoraOptions read_adapter_folder(const std::filesystem::path& folder);

}  // namespace lora::config
