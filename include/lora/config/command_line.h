#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/models/options.h"
#include "lora/peft/method_options.h"

// The models and adapters that the flags of the other programs name, by the rules of a run's config.
namespace lora::config {

/// The flags of a program that describe its model, like the model section of a config.
struct ModelFlags {
  std::string model;           ///< --model: a folder, org/name of a model in the local Hugging Face cache, or a .pt file
  std::string tokenizer = {};  ///< a folder or file; empty: the model's folder
  std::string dtype = "auto";
  std::string device = "auto";
  bool trust_torchscript = false;
  std::string quantize = {};             ///< --quantize: a type of model.quantization, with -dq for double_quant; empty: none
  std::vector<std::string> inputs = {};  ///< of a TorchScript model; empty: by the names of its arguments
  std::string output = {};               ///< of a TorchScript model; empty: the logits
  std::string variant = {}, vae = {}, prediction_type = {};  ///< of a text-to-image pipeline; empty: none given
  std::optional<int64_t> clip_skip = std::nullopt;           ///< of a text-to-image pipeline
  const char* flag = "--model";          ///< the flag that names the model
};

/// The model that the flags name. Paths are relative to the working folder. Throws the Error that the config section would give: config
/// Error, or model Error for a folder that does not exist.
models::ModelOptions read_model_flags(const ModelFlags& flags, const Surroundings& surroundings);

/// The options of an adapter folder by its adapter_config.json, with init_from set to the folder: a model to which they are attached has
/// that adapter. Throws model Error, naming the flag --adapter, for a folder that is not an adapter, an unknown method, unknown
/// keys, or an adapter of PiSSA with a random initialisation, which cannot be repeated.
peft::MethodOptions read_adapter_folder(const std::filesystem::path& folder);

}  // namespace lora::config
