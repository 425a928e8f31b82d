#pragma once
#include <filesystem>
#include <vector>

namespace lora::app {

/// Whether a file of that name belongs beside the weights in a model folder.
bool is_companion(const std::filesystem::path& file);

/// What stands beside the weights in a model folder: the files of its tokenizer, in sub-folders too (chat templates by name, copies in
/// other formats), and generation_config.json. Paths relative to `folder`, sorted. Sub-folders that hold a model, an adapter or a
/// checkpoint of their own are not looked into.
std::vector<std::filesystem::path> companion_files(const std::filesystem::path& folder);

/// Those of them that a run or a merge wrote into its own folder: no sub-folder of another name is the program's to remove.
std::vector<std::filesystem::path> own_companion_files(const std::filesystem::path& folder);

/// Copies them as they are.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace lora::app
