#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"
#include "lora/base/result_file.h"
#include "lora/data/dataset.h"

namespace lora::app {

/// The files and folders that a command with these flags reads: model, tokenizer and adapters. A result must not replace them (ResultFile).
std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request);

/// The same with more files; empty names are skipped.
std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request, const std::vector<std::string>& others);

/// Throws output Error if the result would replace one of the dataset's files, which for a glob are known only once it is loaded.
void require_other_file(const std::optional<ResultFile>& output, const data::Dataset& dataset);

}  // namespace lora::app
