#pragma once
#include <functional>
#include <optional>
#include <string>

#include "lora/base/json.h"
#include "tokenizer/folder_settings.h"

namespace lora::tokenizer {

/// What a class puts around a text, by the ids of the tokens: a section "post_processor".
using AroundText = std::function<Json(const std::function<int32_t(const std::string& token)>& id_of)>;

/// What one of transformers' classes does besides the sections of its tokenizer.json.
struct ClassTraits {
  AroundText around_text;       ///< in place of the file's post_processor; else empty
  bool renews_special = false;  ///< tokens with a role lose their flags in the end, and are special
};

/// BOS and EOS around a text where add_bos_token and add_eos_token ask for them: what a folder without a tokenizer.json has.
AroundText bos_and_eos_around(const FolderSettings& settings);

/// Makes of a tokenizer.json what the class of `settings` makes of it: the class keeps the vocabulary and the merges, and puts its own
/// normalizer, pre-tokenizer, decoder and model options around them, by tokenizer_config.json; tokens that the class has by default
/// are added to the settings' roles. Says so in a line where that is not what the file describes. Nothing: the file stays as it is.
std::optional<ClassTraits> apply_class(Json& file, FolderSettings& settings, const std::string& where);

/// Follows fix_mistral_regex: the pre-tokenizer of an older Mistral model with more than 100,000 tokens cuts words by the corrected
/// pattern. As in transformers, other models keep theirs.
void fix_mistral_regex(Json& file, const FolderSettings& settings, const std::string& where);

}  // namespace lora::tokenizer
