#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/unicode/code_points.h"

namespace lora::tokenizer {

/// The set that Oniguruma, the regular expressions of Hugging Face's tokenizers, means by \p{name}: a general category (L, Lu,
/// Letter, …), a script or a POSIX name (Alpha, Space, …), in any case, spaces, '-' and '_' left out; nothing for another name.
std::optional<CodePoints> named_property(const std::string& name);
/// The names that there are, for messages.
std::vector<std::string> property_names();

/// What `tokenizers` takes a code point for in its other parts, which know other versions of Unicode.
bool is_space(char32_t code);        ///< White_Space
bool is_word(char32_t code);         ///< \w of the regex crate
bool is_numeric(char32_t code);      ///< Digits
bool is_punctuation(char32_t code);  ///< Punctuation, BertPreTokenizer
bool is_control(char32_t code);      ///< removed by BertNormalizer's clean_text
bool is_accent(char32_t code);       ///< removed by BertNormalizer's strip_accents
bool is_mark(char32_t code);         ///< removed by StripAccents

/// The one lowercase code point; U+0130 has two, U+0069 U+0307, of which this gives the first.
char32_t lowercase(char32_t code);
/// `code` and every code point with the same lowercase form: what a case-insensitive literal matches.
CodePoints any_case(char32_t code);

}  // namespace lora::tokenizer
