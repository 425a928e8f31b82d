#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace lora::tools {

/// The groups of options in help pages. Every program uses the same names, and prints them in the order of this list.
namespace group {
inline constexpr const char* kGettingStarted = "Getting started";
inline constexpr const char* kConfiguration = "Configuration";
inline constexpr const char* kModel = "Model";
inline constexpr const char* kAdapters = "Adapters";
inline constexpr const char* kPrompt = "Prompt";
inline constexpr const char* kData = "Data";
inline constexpr const char* kGeneration = "Generation";
inline constexpr const char* kImage = "Images";
inline constexpr const char* kSampling = "Sampling";
inline constexpr const char* kEvaluation = "Evaluation";
inline constexpr const char* kConversion = "Conversion";
inline constexpr const char* kRank = "Rank";
inline constexpr const char* kExtraction = "Extraction";
inline constexpr const char* kCombination = "Combination";
inline constexpr const char* kVerification = "Verification";
inline constexpr const char* kRun = "Run";
inline constexpr const char* kOutput = "Output";
inline constexpr const char* kTorchScript = "TorchScript";
inline constexpr const char* kGeneral = "General";
}  // namespace group

/// Puts the options that are added from here on into a group.
void begin_group(CLI::App& cli, const char* name);

/// Sets what follows the options on a help page: notes (whole lines, or empty), an example and the exit codes.
void add_help_end(CLI::App& cli, const std::string& example, const std::string& notes = "");

/// Formats the help page: options by group, help texts wrapped.
void use_help_format(CLI::App& cli);

}  // namespace lora::tools
