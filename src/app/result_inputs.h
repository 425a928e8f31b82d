#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"

namespace lora::app {

/// What a command reads that runs a model: model, tokenizer and adapters. A result must not take their place (ResultFile).
std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request);

/// Likewise with more files; those that are not given (empty) do not count.
std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request, const std::vector<std::string>& others);

}  // namespace lora::app
