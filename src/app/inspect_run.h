#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::app {

/// Describes a checkpoint: step, epoch, best metric, whether its manifest is valid, and its adapter or model. Damaged parts are reported as
/// facts, not as errors.
Json checkpoint_facts(const std::filesystem::path& folder);
std::string checkpoint_text(const Json& facts, bool colour);

/// Describes a run: its status in run.json, the losses in metrics.jsonl, each checkpoint, and the result if there is one.
Json run_facts(const std::filesystem::path& folder);
std::string run_text(const Json& facts, bool colour);

/// The runs of several adapters in a folder: its direct subfolders with a run.json, by name.
std::vector<std::filesystem::path> run_folders(const std::filesystem::path& folder);
Json several_runs_facts(const std::filesystem::path& folder);
std::string several_runs_text(const Json& facts, bool colour);

}  // namespace lora::app
