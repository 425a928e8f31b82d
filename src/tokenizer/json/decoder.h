#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// One step of the conversion from tokens to text.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

/// The steps of a section "decoder".
class Decoders {
 public:
  /// If `section` is null, the tokens are joined with spaces. Throws model Error naming `where` (the section) if it is damaged or has an
  /// unknown type.
  Decoders(const Json& section, const std::string& where);

  std::string decode(std::vector<std::string> tokens) const;

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
  bool is_null_ = false;
};

/// Decoded text without spaces before punctuation, as with transformers' clean_up_tokenization_spaces.
std::string clean_up_spaces(std::string text);

}  // namespace lora::tokenizer
