#include "app/convert_report.h"

#include <set>

#include "app/text_table.h"
#include "lora/base/counted.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

/// The size of the format's files, in the folders of a pipeline's components too.
int64_t size_of(const ConvertReport& report) {
  std::set<fs::path> folders{report.output};
  for (const std::string& component : peft::pipeline_components()) {
    folders.insert(peft::component_folder(report.output, component));
  }
  int64_t size = 0;
  for (const fs::path& folder : folders) {
    for (const fs::path& file : peft::files_of_format(report.format, folder)) {
      size += fs::is_regular_file(file) ? static_cast<int64_t>(fs::file_size(file)) : 0;
    }
  }
  return size;
}

std::string errors_text(const ConvertReport& report) {
  TextTable table;
  table.add({"module", "norm", "error", "relative error"});
  for (const peft::ModuleError& module : report.modules) {
    table.add({module.module, short_number(module.norm), short_number(module.error), short_number(module.relative())});
  }
  table.add({"all", "", "", short_number(report.relative_error)});
  std::string text = table.text();
  if (report.not_captured.empty()) {
    return text;
  }
  TextTable others;
  others.add({"not captured", "norm", "reason"});
  for (const peft::NotCaptured& tensor : report.not_captured) {
    others.add({tensor.name, short_number(tensor.norm), tensor.reason});
  }
  return text + "\n" + others.text() + "relative error including these: " + short_number(report.relative_error_of_all) + "\n";
}

}  // namespace

Json report_json(const ConvertReport& report) {
  Json facts{{"output", report.output.string()},
             {"format", peft::kAdapterFormats.name(report.format)},
             {"num_modules", report.written.num_modules},
             {"size", size_of(report)},
             {"left_out", report.written.left_out}};
  if (report.modules.empty()) {
    return facts;
  }
  facts["relative_error"] = report.relative_error;
  facts["modules"] = Json::array();
  for (const peft::ModuleError& module : report.modules) {
    facts["modules"].push_back(
        {{"module", module.module}, {"norm", module.norm}, {"error", module.error}, {"relative_error", module.relative()}});
  }
  facts["not_captured"] = Json::array();
  for (const peft::NotCaptured& tensor : report.not_captured) {
    facts["not_captured"].push_back({{"name", tensor.name}, {"reason", tensor.reason}, {"norm", tensor.norm}});
  }
  facts["relative_error_of_all"] = report.relative_error_of_all;
  return facts;
}

std::string report_text(const ConvertReport& report) {
  return (report.modules.empty() ? "" : errors_text(report) + "\n") + report.output.string() + ": " +
         std::string(peft::kAdapterFormats.name(report.format)) + ", " + counted(report.written.num_modules, "module") + ", " +
         human_bytes(size_of(report)) + "\n";
}

}  // namespace lora::app
