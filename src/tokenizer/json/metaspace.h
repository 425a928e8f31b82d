#pragma once
#include <string>

#include "lora/base/enum_table.h"
#include "lora/base/json.h"
#include "tokenizer/json/pieces.h"

namespace lora::tokenizer {

/// Where Metaspace puts a space that the text does not have.
enum class PrependScheme { kAlways, kFirst, kNever };
inline constexpr EnumTable<PrependScheme, 3> kPrependSchemes{
    {{{PrependScheme::kAlways, "always"}, {PrependScheme::kFirst, "first"}, {PrependScheme::kNever, "never"}}}};

/// The pre-tokenizer and the decoder Metaspace: a space as a visible character.
struct Metaspace {
  std::string replacement;
  PrependScheme prepend_scheme = PrependScheme::kAlways;
  bool split = true;
};

/// Throws model Error for keys that are not its, or contradict each other.
Metaspace read_metaspace(const JsonReader& reader);

/// Spaces become the replacement, one is put before the piece by the scheme, and each begins a part of its own.
void cut_by_metaspace(const Metaspace& metaspace, const Piece& piece, Arena& arena, Pieces& parts);

}  // namespace lora::tokenizer
