#pragma once
#include <filesystem>

namespace lora::torchscript {

/// Whether a path is to be opened as a TorchScript module: a zip archive that holds constants.pkl and code/, whatever its name. Damaged and
/// other archives, and paths with the ending of a module, whether they exist or not, count too, so that opening them reports what is wrong.
/// Never throws.
bool is_script(const std::filesystem::path& file);

}  // namespace lora::torchscript
