#include "lora/peft/task.h"

#include <algorithm>

#include "lora/base/log.h"

namespace lora::peft {

namespace {

/// PEFT's names of the heads of all families.
const std::vector<std::string> kHeads{"classifier", "score"};

/// Whether modules_to_save means a module, as PEFT finds it.
bool is_saved(const std::vector<std::string>& entries, const std::string& module) {
  return std::any_of(entries.begin(), entries.end(),
                     [&module](const std::string& entry) { return (module + ".").find(entry + ".") != std::string::npos; });
}

}  // namespace

bool is_sequence_classification(const LoraOptions& options) {
  const auto task = options.config.find("task_type");
  return task != options.config.end() && *task == kSequenceClassification;
}

LoraOptions for_sequence_classification(LoraOptions options, const std::vector<std::string>& created) {
  options.config["task_type"] = kSequenceClassification;
  std::vector<std::string>& saved = options.modules_to_save;
  for (const std::string& head : kHeads) {
    if (std::find(saved.begin(), saved.end(), head) == saved.end()) {
      saved.push_back(head);
    }
  }
  options.task_modules = kHeads;
  for (const std::string& weight : created) {
    const std::string module = weight.substr(0, weight.rfind('.'));
    if (!is_saved(saved, module)) {
      log::info("modules_to_save: " + module + " too, which the base does not have and the run starts at random");
      saved.push_back(module);
    }
  }
  return options;
}

bool saves_module(const LoraOptions& options, const std::string& module) {
  return is_saved(options.modules_to_save, module) || is_saved(kHeads, module);
}

}  // namespace lora::peft
