#pragma once
#include <filesystem>

namespace lora::models {

/// Whether a file's name says that it is a TorchScript module.
inline bool has_script_ending(const std::filesystem::path& path) {
  const std::filesystem::path ending = path.extension();
  return ending == ".pt" || ending == ".pth" || ending == ".ts" || ending == ".torchscript";
}

}  // namespace lora::models
