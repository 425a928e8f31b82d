#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/data/options.h"
#include "lora/models/options.h"
#include "lora/peft/options.h"
#include "lora/train/options.h"

namespace lora::config {

/// One run, checked and complete.
struct RunConfig {
  std::string adapter_name;  ///< of several adapters; else empty
  models::ModelOptions model;
  std::optional<peft::LoraOptions> adapter;  ///< none: full fine-tuning
  data::DataOptions data;
  train::TrainOptions training;
  std::filesystem::path output_dir;
  bool allow_other_base = false;  ///< adapter.init_from may be of another base; a flag's, no key of the file
  /// Every key with its value, defaults filled in, paths absolute (an "org/name" stays): run.json. As a config file it
  /// means the same run.
  Json resolved;
};

/// What a config file asks for: one run, or with `adapter` as an array one for each adapter, alike but for the adapter,
/// its learning rate and its folder in output_dir. Each is the run that its adapter alone would be.
struct RunList {
  std::vector<RunConfig> runs;
  Json resolved;  ///< of the whole file: --print-config
};

/// What the machine around the run offers. The library reads no environment: tools/ passes it in.
struct Surroundings {
  std::vector<std::filesystem::path> hub_caches;  ///< folders that hold "models--org--name"
};

/// Where Hugging Face's own tools look, in their order: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub,
/// HOME/.cache/huggingface/hub; the first that is set counts. `environment` is std::getenv.
Surroundings read_surroundings(const std::function<const char*(const char* name)>& environment);

/// Reads `file`, applies `overrides` ("training.learning_rate=1e-4": the value is JSON, or else a string) and checks
/// everything. Relative paths become absolute, by the config file's folder (overridden ones too). A model.path that is
/// no such path and looks like "org/name" is looked up in the hub caches; whether other paths exist is found out by
/// those who open them. Throws one config Error that holds every finding, a line each: "[training.learning_rate] …".
RunList load_runs(const std::filesystem::path& file, const std::vector<std::string>& overrides, const Surroundings& surroundings = {});

/// JSON Schema (draft 2020-12) of the config file, made from the same tables that the reader uses.
Json run_config_schema();

}  // namespace lora::config
