#pragma once
#include <filesystem>
#include <string>

namespace lora {

/// The absolute path of a shared library of ours that is opened at run time: `name` in ../lib/lora-train of the running program's folder,
/// in the build tree as in an installation. A bare name would be looked for in every folder of the search path instead.
std::filesystem::path own_library(const std::string& name);

}  // namespace lora
