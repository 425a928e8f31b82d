#pragma once
#include <memory>

#include "tokenizer/json/pieces.h"
#include "tokenizer/json/token_table.h"

namespace lora::tokenizer {

/// The part of a tokenizer that holds the vocabulary and converts pieces of text to ids.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual const TokenTable& vocabulary() const = 0;
  /// Appends the ids of every piece. Throws model Error if a character has no token and there is no unknown token.
  virtual void encode(const Pieces& pieces, std::vector<int32_t>& ids) const = 0;
};

/// Reads the section "model", named `where`. `reads_bytes`: pieces are plain text, while the vocabulary spells their bytes as characters of
/// ByteLevel; only for models that support it. Throws model Error for a damaged section and for an unknown type.
std::unique_ptr<TokenModel> read_model(const Json& model, const std::string& where, bool reads_bytes);
bool can_read_bytes(const Json& model, const std::string& where);

}  // namespace lora::tokenizer
