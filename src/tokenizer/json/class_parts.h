#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tokenizer/json/class_pipeline.h"

// Parts of the tokenizer.json sections that transformers' classes build.
namespace lora::tokenizer {

using IdOf = std::function<int32_t(const std::string& token)>;

/// The text of a role's token, possibly the class's default; empty if there is none.
std::string text_of(const FolderSettings& settings, const char* role);

Json sequence_of(const char* parts_key, Json parts);
Json byte_level(bool add_prefix_space, bool use_regex = true);
Json replace(const std::string& from, const std::string& to);
/// A Replace or a Split by a regular expression.
Json replace_pattern(const char* pattern, const char* to);
Json split_at(const char* pattern, const char* behavior, bool invert);
/// Metaspace with the replacement ▁.
Json metaspace(const char* prepend_scheme, bool split);
/// The decoder for tokens with ▁ for a space and <0x0A> for a byte.
Json space_decoder(bool strips_first);
/// The component Precompiled in a file's normalizer; null if there is none.
Json precompiled_of(const Json& normalizer);

/// Replaces the options of the file's model by those that a class sets.
void set_model(Json& file, const Json& options);

// Parts of a TemplateProcessing.
Json special_part(const std::string& token, int type);
Json text_part(const char* name, int type);
Json definitions(const std::vector<std::string>& tokens, const IdOf& id_of);
/// [CLS] A [SEP], and for a pair [CLS] A [SEP] B [SEP], with the tokens that have these roles.
AroundText cls_and_sep_around(const FolderSettings& settings);
/// The same, with a second [SEP] before B and one type for both texts.
AroundText around_with_two_separators(const FolderSettings& settings, const char* begin_role, const char* end_role);
/// RobertaProcessing with the tokens of two roles.
AroundText roberta_around(const FolderSettings& settings, const char* begin_role = "cls_token", const char* end_role = "sep_token");

}  // namespace lora::tokenizer
