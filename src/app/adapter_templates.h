#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "lora/tokenizer/chat_template.h"

namespace lora::app {

/// The chat template that the adapters were trained with. Warns and returns nothing where their templates differ.
std::optional<tokenizer::TemplateTexts> shared_template(const std::vector<std::filesystem::path>& adapters);

/// Writes the shared template into the folder of a merged model or adapter. Returns false, and writes nothing, if there is no shared
/// template or the folder already has it.
bool write_shared_template(const std::vector<std::filesystem::path>& adapters, const std::filesystem::path& folder);

/// Adds the token with which a model folder's chat template ends the assistant's turns to eos_token_id in its generation_config.json,
/// because other programs stop only at the tokens listed there. Does nothing if turns end with plain text, or no tokenizer can be loaded.
void end_generation_at_turns(const std::filesystem::path& folder);

}  // namespace lora::app
