#pragma once
#include <filesystem>
#include <functional>
#include <vector>

namespace lora::app {

/// Checks that `folder` can be made, whole, by write_folder_atomically: throws output Error if it is there and not empty
/// (with `overwrite`: if it holds anything but the files of a model or an adapter, which would be lost), config Error if
/// it is one of the `inputs`, or one lies in the other.
void check_new_folder(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& inputs, bool overwrite);

/// Makes the folder's parents where they are missing, and the folder, seen whole or not at all (write_folder_atomically).
void write_new_folder(const std::filesystem::path& folder, const std::function<void(const std::filesystem::path&)>& fill);

}  // namespace lora::app
