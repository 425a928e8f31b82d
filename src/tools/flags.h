#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>

#include "lora/app/inference_request.h"

namespace lora::tools {

/// --model, --adapter, --tokenizer, --dtype and --device.
void add_model_flags(CLI::App& cli, app::InferenceRequest& request);

/// The check of a flag whose value is a whole number in this range.
CLI::Validator whole_number(int64_t smallest, int64_t largest = INT64_MAX);

/// --quiet and --version, then the whole of a tool: parses, and runs `command` under app::guarded. A usage error is
/// exit code 2.
int run(CLI::App& cli, int argc, char** argv, const std::function<int()>& command);

/// Where the machine keeps downloaded models.
config::Surroundings surroundings();

}  // namespace lora::tools
