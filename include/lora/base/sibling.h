#pragma once
#include <filesystem>
#include <string>

namespace lora {

/// " (did you mean 'x'?)" for a path that does not exist, x being the folder beside it whose name is nearest; "" if none is near.
std::string did_you_mean_sibling(const std::filesystem::path& missing);

}  // namespace lora
