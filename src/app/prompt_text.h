#pragma once
#include "lora/models/options.h"
#include "lora/peft/method_options.h"

namespace lora::app {

/// The options with the tokens of prompt tuning's text, by the run's own tokenizer; unchanged if the adapter does not start from a text.
/// Throws config Error if they name another tokenizer, and what load_tokenizer throws.
peft::MethodOptions with_prompt_text(peft::MethodOptions options, const models::ModelOptions& model);

}  // namespace lora::app
