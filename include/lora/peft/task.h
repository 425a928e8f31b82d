#pragma once
#include <string>
#include <vector>

#include "lora/peft/options.h"

namespace lora::peft {

/// adapter_config.json's task_type of an adapter on a model that scores documents.
inline constexpr const char* kSequenceClassification = "SEQ_CLS";

/// Whether the adapter's config says so.
bool is_sequence_classification(const LoraOptions& options);

/// The options with what PEFT's PeftModelForSequenceClassification does to them: the task_type, and "classifier" and "score" among
/// modules_to_save.
/// @param created weights of the head that are random: their modules are saved as well, as nobody else has them.
LoraOptions for_sequence_classification(LoraOptions options, const std::vector<std::string>& created);

/// Whether such an adapter holds a module of the model whole.
bool saves_module(const LoraOptions& options, const std::string& module);

}  // namespace lora::peft
