#include "lora/peft/task.h"

#include <algorithm>

#include "lora/base/log.h"

namespace lora::peft {

namespace {

/// PEFT's names for the heads of all families.
const std::vector<std::string> kHeads{"classifier", "score"};

/// Whether modules_to_save includes a module.
bool is_saved(const std::vector<std::string>& entries, const std::string& module) {
  return std::any_of(entries.begin(), entries.end(), [&module](const std::string& entry) { return is_within(module, entry); });
}

}  // namespace

bool is_sequence_classification(const AdapterOptions& options) {
  const auto task = options.config.find("task_type");
  return task != options.config.end() && *task == kSequenceClassification;
}

MethodOptions for_sequence_classification(MethodOptions options, const std::vector<std::string>& created) {
  options->config["task_type"] = kSequenceClassification;
  std::vector<std::string>& saved = options->modules_to_save;
  for (const std::string& head : kHeads) {
    if (std::find(saved.begin(), saved.end(), head) == saved.end()) {
      saved.push_back(head);
    }
  }
  options->task_modules = kHeads;
  for (const std::string& weight : created) {
    const std::string module = weight.substr(0, weight.rfind('.'));
    if (!is_saved(saved, module)) {
      log::info("adding " + module + " to modules_to_save, because the base does not have it and it is initialized randomly");
      saved.push_back(module);
    }
  }
  return options;
}

bool is_within(const std::string& module, const std::string& end) {
  return (module + ".").find(end + ".") != std::string::npos;
}

bool saves_module(const AdapterOptions& options, const std::string& module) {
  return is_saved(options.modules_to_save, module) || is_saved(kHeads, module);
}

}  // namespace lora::peft
