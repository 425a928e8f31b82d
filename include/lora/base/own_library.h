#pragma once
#include <filesystem>
#include <string>

namespace lora {

/// The absolute path of a shared library of this project that is opened at run time: `name` in ../lib/lora-train relative to the folder
/// of the running program, both in the build tree and in an installation. A bare name would be searched for in the whole search path.
std::filesystem::path own_library(const std::string& name);

}  // namespace lora
