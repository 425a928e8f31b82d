#pragma once
#include <filesystem>
#include <vector>

namespace lora::app {

/// Whether a file with this name accompanies the weights in a model folder.
bool is_companion(const std::filesystem::path& file);

/// The files that accompany the weights in a model folder: its tokenizer's files, including those in sub-folders (named chat templates,
/// copies in other formats), and generation_config.json. Sorted paths relative to `folder`. Sub-folders that hold their own model, adapter
/// or checkpoint are skipped.
std::vector<std::filesystem::path> companion_files(const std::filesystem::path& folder);

/// The companion files that a run or a merge wrote into its own folder, and may therefore remove.
std::vector<std::filesystem::path> own_companion_files(const std::filesystem::path& folder);

/// Copies the companion files of one folder to another, unchanged.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace lora::app
