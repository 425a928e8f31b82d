#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "lora/tokenizer/chat_template.h"

namespace lora::app {

/// The chat template that adapters were trained with, where those that have one agree; else a warning, and nothing.
std::optional<tokenizer::TemplateTexts> shared_template(const std::vector<std::filesystem::path>& adapters);

/// Writes it into the folder of what was made of the adapters. False, and nothing is done, where there is none or the folder has it.
bool write_shared_template(const std::vector<std::filesystem::path>& adapters, const std::filesystem::path& folder);

/// Adds the token by which a model folder's chat template ends the assistant's turns to the eos_token_id of its generation_config.json, if
/// it is not there: other programs stop by that file alone. Does nothing where the turns end with text, or no tokenizer can be used.
void end_generation_at_turns(const std::filesystem::path& folder);

}  // namespace lora::app
