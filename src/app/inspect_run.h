#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::app {

/// A checkpoint: step, epoch, best metric, whether its manifest holds, and what was trained. What is damaged is a fact
/// here, no error.
Json checkpoint_facts(const std::filesystem::path& folder);
std::string checkpoint_text(const Json& facts, bool colour);

/// A run: run.json's status, the losses of metrics.jsonl, each checkpoint, and the result as far as there is one.
Json run_facts(const std::filesystem::path& folder);
std::string run_text(const Json& facts, bool colour);

/// The runs in a folder, as several adapters have them: its direct subfolders with a run.json, by name.
std::vector<std::filesystem::path> run_folders(const std::filesystem::path& folder);
Json several_runs_facts(const std::filesystem::path& folder);
std::string several_runs_text(const Json& facts, bool colour);

}  // namespace lora::app
