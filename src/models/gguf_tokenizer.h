#pragma once
#include <string>

#include "lora/io/gguf_file.h"

namespace lora::models {

/// How the vocabulary of a file is used.
enum class GgufVocabulary {
  kNone,           ///< the file has none
  kBpe,            ///< byte-level BPE: a tokenizer.json
  kSentencePiece,  ///< a tokenizer.model
};

/// Throws model Error for another kind of tokenizer.
GgufVocabulary gguf_vocabulary(const io::GgufFile& file);

/// Warns of a file with byte-level BPE that does not say how texts are split.
void warn_of_unknown_split(const io::GgufFile& file);

// The files in which transformers keeps what the metadata say of the tokenizer. All throw model Error that names the file and the key.
std::string gguf_tokenizer_json(const io::GgufFile& file);
std::string gguf_tokenizer_model(const io::GgufFile& file);
/// With the chat template.
std::string gguf_tokenizer_config(const io::GgufFile& file);
/// The tokens that end an answer; empty: the metadata name none besides the EOS of config.json.
std::string gguf_generation_config(const io::GgufFile& file);

/// The types of tokens that matter here; others are plain (1) and unused (5).
namespace gguf_token {
inline constexpr int64_t kUnknown = 2;
inline constexpr int64_t kControl = 3;
inline constexpr int64_t kUserDefined = 4;
inline constexpr int64_t kByte = 6;
}  // namespace gguf_token

/// The tokens and the type of each.
struct GgufTokens {
  std::vector<std::string_view> texts;
  std::vector<int64_t> types;
};
GgufTokens gguf_tokens(const io::GgufFile& file);

/// The id of a role ("bos", "eos", "unknown", "padding"), which must be one of the tokens; -1: none.
int64_t gguf_token_id(const io::GgufFile& file, const std::string& role);

}  // namespace lora::models
