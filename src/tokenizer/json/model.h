#pragma once
#include <memory>

#include "tokenizer/json/pieces.h"
#include "tokenizer/json/token_table.h"

namespace lora::tokenizer {

/// The part of a tokenizer that knows the vocabulary: pieces of text in, ids out.
class Model {
 public:
  virtual ~Model() = default;
  virtual const TokenTable& vocabulary() const = 0;
  /// Appends the ids of every piece. Throws model Error where a character has no token and there is no unknown token.
  virtual void encode(const Pieces& pieces, std::vector<int32_t>& ids) const = 0;
};

/// Reads the section "model", named `where`. `reads_bytes`: pieces are plain text whose bytes the vocabulary spells as the
/// characters of ByteLevel; only models that can do it are given it. Throws model Error for a damaged section and for an
/// unknown type.
std::unique_ptr<Model> read_model(const Json& model, const std::string& where, bool reads_bytes);
bool can_read_bytes(const Json& model, const std::string& where);

}  // namespace lora::tokenizer
