#pragma once
#include <string>
#include <vector>

namespace lora::models {

/// The advice for a model_type that is not supported: its nearest family and what would have to be added to it.
std::string unknown_family_advice(const std::string& model_type, const std::vector<std::string>& known);

}  // namespace lora::models
