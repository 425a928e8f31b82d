#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/unicode/code_points.h"

namespace lora::tokenizer {

/// The set of \p{name} in Oniguruma, the regular expression library of Hugging Face's tokenizers: a general category (L, Lu,
/// Letter, …), a script or a POSIX name (Alpha, Space, …), ignoring case, spaces, '-' and '_'; empty for another name.
std::optional<CodePoints> named_property(const std::string& name);
/// The known names, for messages.
std::vector<std::string> property_names();

/// The properties of a code point in the other parts of `tokenizers`, which use other versions of Unicode.
bool is_space(char32_t code);        ///< White_Space
bool is_word(char32_t code);         ///< \w of the regex crate
bool is_numeric(char32_t code);      ///< Digits
bool is_punctuation(char32_t code);  ///< Punctuation, BertPreTokenizer
bool is_control(char32_t code);      ///< removed by BertNormalizer's clean_text
bool is_accent(char32_t code);       ///< removed by BertNormalizer's strip_accents
bool is_mark(char32_t code);         ///< removed by StripAccents

/// The lowercase code point; for U+0130, which has two (U+0069 U+0307), the first.
char32_t lowercase(char32_t code);
/// `code` and every code point with the same lowercase form: the matches of a case-insensitive literal.
CodePoints any_case(char32_t code);

}  // namespace lora::tokenizer
