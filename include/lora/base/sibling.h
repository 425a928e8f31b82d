#pragma once
#include <filesystem>
#include <string>

namespace lora {

/// " (did you mean 'x'?)" for a path that does not exist, where x is the folder in the same parent folder with the most similar name;
/// "" if none is similar.
std::string did_you_mean_sibling(const std::filesystem::path& missing);

}  // namespace lora
