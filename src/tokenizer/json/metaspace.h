#pragma once
#include <string>

#include "lora/base/enum_table.h"
#include "lora/base/json.h"
#include "tokenizer/json/pieces.h"

namespace lora::tokenizer {

/// Where Metaspace adds a space that the text does not have.
enum class PrependScheme { kAlways, kFirst, kNever };
inline constexpr EnumTable<PrependScheme, 3> kPrependSchemes{
    {{{PrependScheme::kAlways, "always"}, {PrependScheme::kFirst, "first"}, {PrependScheme::kNever, "never"}}}};

/// The pre-tokenizer and decoder Metaspace, which writes spaces as a visible character.
struct Metaspace {
  std::string replacement;
  PrependScheme prepend_scheme = PrependScheme::kAlways;
  bool split = true;
};

/// Throws model Error for invalid or contradictory keys.
Metaspace read_metaspace(const JsonReader& reader);

/// Spaces become the replacement, one is added before the piece according to the scheme, and each begins a new part.
void cut_by_metaspace(const Metaspace& metaspace, const TextPiece& piece, Arena& arena, Pieces& parts);

}  // namespace lora::tokenizer
