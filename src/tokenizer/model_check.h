#pragma once
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// Limits of the input of the sentencepiece library, far above any real model.
inline constexpr size_t kMaxModelBytes = size_t{256} << 20;
inline constexpr size_t kMaxPieceBytes = 10'000;  ///< its trie builder recurses once per byte

/// Rejects input that would crash the library: a damaged wire format, no pieces or huge ones, scores that are not numbers, user-defined
/// symbols that are too deeply nested, a normalization table with offsets out of bounds. Throws model Error.
void require_valid_model_proto(std::string_view bytes, const std::string& where);

/// The same for one precompiled_charsmap: a Darts double array (a trie) and the replacement strings that it points into.
void require_valid_charsmap(std::string_view blob, const std::string& where);

}  // namespace lora::tokenizer
