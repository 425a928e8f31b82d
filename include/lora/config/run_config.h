#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/data/options.h"
#include "lora/models/options.h"
#include "lora/peft/method_options.h"
#include "lora/train/options.h"

namespace lora::config {

/// One run, checked and complete.
struct RunConfig {
  std::string name;  ///< of its folder in the output_dir of the file, if there are several runs; otherwise empty
  models::ModelOptions model;
  peft::MethodOptions adapter;  ///< none: full fine-tuning
  data::DataOptions data;
  train::TrainOptions training;
  std::filesystem::path output_dir;
  bool allow_other_base = false;  ///< adapter.init_from may belong to another base; set by a flag, not by a key of the file
  /// Every key with its value, with defaults and absolute paths ("org/name" is kept): run.json. As a config file it describes the same
  /// run.
  Json resolved;
};

/// The runs of a config file: one, or with `adapter` as an array one per adapter, which differ in the adapter, its learning rate and its
/// folder in output_dir, or one for each combination of a sweep's values. Each gives the result that it would give alone.
struct RunList {
  std::vector<RunConfig> runs;
  Json resolved;  ///< the whole file, for --print-config
  /// Of a sweep, the settings "key=value" of each run; otherwise empty.
  std::vector<std::vector<std::string>> sweep = {};
};

/// Properties of the machine. The library does not read the environment: tools/ passes them in.
struct Surroundings {
  std::vector<std::filesystem::path> hub_caches;  ///< folders that hold "models--org--name"
};

/// The caches that Hugging Face's own tools use, in their order: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub,
/// HOME/.cache/huggingface/hub; only the first that is set is used. `environment` is std::getenv.
Surroundings read_surroundings(const std::function<const char*(const char* name)>& environment);

/// Reads `file`, applies `overrides` ("training.learning_rate=1e-4": the value is JSON, or else a string) and checks
/// everything. Relative paths, also overridden ones, are relative to the config file's folder and become absolute. A model.path that does
/// not exist and looks like "org/name" is looked up in the hub caches; other paths are checked when they are opened. Throws one config
/// Error with one line per finding: "[training.learning_rate] …". Each of `sweeps` ("adapter.r=1,2,4") is a key of adapter or training
/// with values, in all combinations of which runs are made.
RunList load_runs(const std::filesystem::path& file, const std::vector<std::string>& overrides, const Surroundings& surroundings = {},
                  const std::vector<std::string>& sweeps = {});

/// JSON Schema (draft 2020-12) of the config file, generated from the tables that the reader uses.
Json run_config_schema();

}  // namespace lora::config
