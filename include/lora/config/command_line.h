#pragma once
#include <filesystem>
#include <string>

#include "lora/config/run_config.h"
#include "lora/models/options.h"
#include "lora/peft/options.h"

// What the companions' flags name, by the rules of the run's config.
namespace lora::config {

/// The model that `--model` names: a folder, or org/name of a model in the local Hugging Face cache. Paths are relative
/// to the working folder. `tokenizer`: a folder or file, or empty for the model's folder. `dtype` and `device` as in
/// the config's model section. Throws the Error that the section would give: config, or model for a folder not there.
models::ModelOptions read_model_flags(const std::string& model, const std::string& tokenizer, const std::string& dtype,
                                      const std::string& device, const Surroundings& surroundings);

/// The options of an adapter folder by its adapter_config.json, with init_from set to the folder: attached with them,
/// a model has that adapter. Throws model Error for a folder that is none, another method than LoRA, keys of PEFT that
/// this version does not have, or an adapter of PiSSA or OLoRA that does not fit the base itself.
peft::LoraOptions read_adapter_folder(const std::filesystem::path& folder);

}  // namespace lora::config
