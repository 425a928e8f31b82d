#pragma once
#include <filesystem>

namespace lora::torchscript {

/// Whether a file is to be opened as a TorchScript module: by its content, a zip archive that holds constants.pkl and code/, whatever
/// it is called. An archive that is damaged or another one, and a file with an ending that modules have, there or not, are opened as one
/// too, so that what is wrong with them is said. Never throws.
bool is_script(const std::filesystem::path& file);

}  // namespace lora::torchscript
