#pragma once
#include <filesystem>
#include <vector>

namespace lora::app {

/// Checks that `folder` can be made, whole, by write_folder_atomically: throws output Error if it is there and not empty
/// (with `overwrite`: if it holds anything but the files of a model or an adapter, which would be lost), config Error if
/// it is one of the `inputs`, or one lies in the other.
void check_new_folder(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& inputs, bool overwrite);

}  // namespace lora::app
