#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::app {

/// What a run is made of: two runs with equal ids do the same steps, as far as both go.
struct RunIdentity {
  std::string id;  ///< SHA-256 over the keys and files that decide on the steps
  Json hashes;     ///< {"base": {file: sha256}, "tokenizer": …, "init_from": …, "train": [{"path", "sha256"}], "eval": …}
  Json config;     ///< the resolved config
};

/// @param config the resolved config. Keys that change neither a step nor its numbers do not count (output_dir, logging, saving,
/// evaluating, recomputing), nor does how long the run is, nor do paths: files count by their content.
RunIdentity identify_run(const Json& config, const Json& hashes);

/// How the run of a run.json differs from this one in what counts: "training.seed: 1 there, 2 here", "base model: other files (…)".
std::vector<std::string> differences(const Json& run_file, const RunIdentity& identity);

/// The same for max_steps and num_train_epochs.
std::vector<std::string> differences_of_length(const Json& run_file, const RunIdentity& identity);

/// The same for when it is evaluated and stopped.
std::vector<std::string> differences_of_evaluation(const Json& run_file, const RunIdentity& identity);

/// SHA-256 of each file, by its name.
Json hash_files(const std::vector<std::filesystem::path>& files);

}  // namespace lora::app
