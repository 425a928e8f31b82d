#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"
#include "lora/base/result_file.h"
#include "lora/data/dataset.h"

namespace lora::app {

/// What a command reads that runs a model: model, tokenizer and adapters. A result must not take their place (ResultFile).
std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request);

/// Likewise with more files; those that are not given (empty) do not count.
std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request, const std::vector<std::string>& others);

/// Throws output Error where the result would take the place of a file of these rows: their source may be a pattern, so that its files are
/// known only now.
void require_other_file(const std::optional<ResultFile>& output, const data::Dataset& dataset);

}  // namespace lora::app
