#pragma once
#include <string>
#include <vector>

#include "lora/peft/method_options.h"

namespace lora::peft {

/// The task_type in adapter_config.json of an adapter for sequence classification.
inline constexpr const char* kSequenceClassification = "SEQ_CLS";

/// Whether the adapter's config has this task_type.
bool is_sequence_classification(const AdapterOptions& options);

/// The options as PEFT's PeftModelForSequenceClassification changes them: the task_type, and "classifier" and "score" in
/// modules_to_save.
/// @param created randomly initialized weights of the head: their modules are saved too, because the base does not have them.
MethodOptions for_sequence_classification(MethodOptions options, const std::vector<std::string>& created);

/// Whether the name of the module, or of a module that contains it, ends with `end`: PEFT's rule for modules_to_save.
bool is_within(const std::string& module, const std::string& end);

/// Whether an adapter for sequence classification saves the module whole.
bool saves_module(const AdapterOptions& options, const std::string& module);

}  // namespace lora::peft
