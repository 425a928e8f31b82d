#pragma once
#include <functional>
#include <optional>
#include <string>

#include "lora/base/json.h"
#include "tokenizer/folder_settings.h"

namespace lora::tokenizer {

/// Builds the section "post_processor" of a class from the ids of its tokens.
using AroundText = std::function<Json(const std::function<int32_t(const std::string& token)>& id_of)>;

/// The effects of a class of transformers apart from the sections of tokenizer.json.
struct ClassTraits {
  AroundText around_text;       ///< replaces the file's post_processor, unless empty
  bool renews_special = false;  ///< tokens with a role finally lose their flags and become special
};

/// BOS and EOS around a text as requested by add_bos_token and add_eos_token, for a folder without a tokenizer.json.
AroundText bos_and_eos_around(const FolderSettings& settings);

/// Changes a tokenizer.json as the class of `settings` does: the class keeps the vocabulary and the merges, and builds its own normalizer,
/// pre-tokenizer, decoder and model options from tokenizer_config.json. Adds the class's default tokens to the settings' roles, and logs
/// a line if the result differs from the file. Empty: the file is used unchanged.
std::optional<ClassTraits> apply_class(Json& file, FolderSettings& settings, const std::string& where);

/// Applies fix_mistral_regex: the pre-tokenizer of an older Mistral model with more than 100,000 tokens gets the corrected pattern. As in
/// transformers, other models keep theirs.
void fix_mistral_regex(Json& file, const FolderSettings& settings, const std::string& where);

}  // namespace lora::tokenizer
