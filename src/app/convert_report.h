#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/peft/approximate.h"
#include "lora/peft/formats.h"

namespace lora::app {

/// The result of lora-convert.
struct ConvertReport {
  std::filesystem::path output;
  peft::AdapterFormat format = peft::AdapterFormat::kPeft;
  peft::Written written;
  std::vector<peft::ModuleError> modules;       ///< for --bake, --resize and --extract
  double relative_error = 0;                    ///< over all modules
  std::vector<peft::NotCaptured> not_captured;  ///< for --extract
  double relative_error_of_all = 0;             ///< including not_captured
};

Json report_json(const ConvertReport& report);
/// The report as text.
std::string report_text(const ConvertReport& report);

}  // namespace lora::app
