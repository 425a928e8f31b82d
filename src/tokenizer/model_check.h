#pragma once
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// Limits of what is handed to the sentencepiece library, far above any real model.
inline constexpr size_t kMaxModelBytes = size_t{256} << 20;
inline constexpr size_t kMaxPieceBytes = 10'000;  ///< its trie builder recurses once a byte

/// Refuses what the library would crash on: damaged wire format, no or huge pieces, scores that are no numbers, too
/// deeply nested user-defined symbols, a normalisation table that leads out of its own bounds. Throws model Error.
void check_model_proto(std::string_view bytes, const std::string& where);

/// Same for one precompiled_charsmap: a Darts double array (a trie) and the replacement strings that it points into.
void check_charsmap(std::string_view blob, const std::string& where);

}  // namespace lora::tokenizer
