#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::app {

/// Identifies a run: two runs with equal ids take the same steps, as far as both go.
struct RunIdentity {
  std::string id;  ///< SHA-256 of the keys and files that determine the steps
  Json hashes;     ///< {"base": {file: sha256}, "tokenizer": …, "init_from": …, "train": [{"path", "sha256"}], "eval": …}
  Json config;     ///< the resolved config
};

/// @param config the resolved config. Keys that change neither the steps nor their numbers (output_dir, logging, saving, evaluation,
/// recomputation), the length of the run and paths do not count; files count by their content.
RunIdentity identify_run(const Json& config, const Json& hashes);

/// How the run of a run.json differs from this one: "training.seed: 1 there, 2 here", "base model: other content (…)".
std::vector<std::string> differences(const Json& run_file, const RunIdentity& identity);

/// The differences in max_steps and num_train_epochs.
std::vector<std::string> differences_of_length(const Json& run_file, const RunIdentity& identity);

/// The differences in when the run is evaluated and stopped.
std::vector<std::string> differences_of_evaluation(const Json& run_file, const RunIdentity& identity);

/// The SHA-256 of each file, by file name.
Json hash_files(const std::vector<std::filesystem::path>& files);

}  // namespace lora::app
