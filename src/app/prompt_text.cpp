#include "app/prompt_text.h"

#include <system_error>

#include "lora/base/error.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

namespace {

/// PEFT's config names the tokenizer of the text. The virtual tokens are embeddings of this base, so only its own tokenizer makes sense.
void require_own_tokenizer(const std::string& named, const models::ModelOptions& model) {
  std::error_code ignored;
  if (named != model.name && !std::filesystem::equivalent(named, model.path, ignored) &&
      !std::filesystem::equivalent(named, model.tokenizer, ignored)) {
    config_error("adapter.tokenizer_name_or_path", "found \"" + named + "\", expected the run's own tokenizer, as \"" + model.name +
                                                       "\", or no such key: the virtual tokens start from embeddings of this model");
  }
}

}  // namespace

peft::MethodOptions with_prompt_text(peft::MethodOptions options, const models::ModelOptions& model) {
  const auto* const prompt = options.as<peft::PromptTuningOptions>();
  if (prompt == nullptr || prompt->init_from || prompt->prompt_tuning_init != peft::PromptInit::kText) {
    return options;
  }
  peft::PromptTuningOptions own = *prompt;
  if (own.tokenizer_name_or_path) {
    require_own_tokenizer(*own.tokenizer_name_or_path, model);
  }
  own.text_ids = tokenizer::load_tokenizer(model.tokenizer)->encode_with_specials(*own.prompt_tuning_init_text, true);
  return own;
}

}  // namespace lora::app
