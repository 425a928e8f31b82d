#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/peft/approximate.h"
#include "lora/peft/formats.h"

namespace lora::app {

/// What lora-convert did.
struct ConvertReport {
  std::filesystem::path output;
  peft::AdapterFormat format = peft::AdapterFormat::kPeft;
  peft::Written written;
  std::vector<peft::ModuleError> modules;       ///< of --bake, --resize and --extract
  double relative_error = 0;                    ///< over all of them
  std::vector<peft::NotCaptured> not_captured;  ///< of --extract
  double relative_error_of_all = 0;             ///< with those
};

Json report_json(const ConvertReport& report);
/// The report for people.
std::string report_text(const ConvertReport& report);

}  // namespace lora::app
