#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// One step from tokens to text.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

/// The steps of a section "decoder".
class Decoders {
 public:
  /// `section` may be null: the text is then the tokens with spaces between them. Throws model Error naming `where` (the
  /// section) for a damaged one and for an unknown type.
  Decoders(const Json& section, const std::string& where);

  std::string decode(std::vector<std::string> tokens) const;

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
  bool is_null_ = false;
};

/// Decoded text without the spaces before punctuation, as transformers' clean_up_tokenization_spaces has it.
std::string clean_up_spaces(std::string text);

}  // namespace lora::tokenizer
