#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"
#include "tools/help.h"

namespace lora::tools {

/// Adds the flags of every program that runs a model: its model, adapters, device and TorchScript options.
void add_model_flags(CLI::App& cli, app::InferenceRequest& request);
void add_other_base_flag(CLI::App& cli, bool& allow_other_base);
void add_trust_flag(CLI::App& cli, bool& trust_torchscript);
void add_script_flags(CLI::App& cli, std::vector<std::string>& inputs, std::string& output_field);
/// `rows` names the rows that the template is applied to.
void add_chat_template_flag(CLI::App& cli, std::string& chat_template, const std::string& rows);
void add_documents_flag(CLI::App& cli, std::string& documents);
void add_text_flags(CLI::App& cli, std::string& documents, bool& parse_special_tokens);

/// The check of a flag whose value is a whole number in this range.
CLI::Validator whole_number(int64_t smallest, int64_t largest = INT64_MAX);

/// Runs a program: adds --help, --quiet and --version, parses the flags, and runs `command` under app::guarded. Returns the exit code,
/// which is 2 for a usage error.
int run(CLI::App& cli, int argc, char** argv, const std::function<int()>& command);

/// Where this machine keeps downloaded models, from the environment.
config::Surroundings surroundings();

}  // namespace lora::tools
