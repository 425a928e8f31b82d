#pragma once
#include <filesystem>
#include <functional>
#include <vector>

namespace lora::app {

/// Checks that write_folder_atomically may create `folder`. Throws output Error if the folder exists and is not empty (with `overwrite`: if
/// it holds anything but the files of a model or an adapter), or if it overlaps one of the `inputs`.
void require_new_folder(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& inputs, bool overwrite);

/// Creates missing parents and then the folder, which appears complete or not at all (write_folder_atomically).
void write_new_folder(const std::filesystem::path& folder, const std::function<void(const std::filesystem::path&)>& fill);

}  // namespace lora::app
