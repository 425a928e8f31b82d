#pragma once
#include <memory>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/unicode/aligned_text.h"

namespace lora::tokenizer {

/// One step of the conversion from the original text to the normalized one.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual AlignedText normalize(AlignedText text) const = 0;
};

/// The steps of a section "normalizer".
class Normalizers {
 public:
  /// `section` may be null. Throws model Error naming `where` (the section) if it is damaged or has an unknown type.
  Normalizers(const Json& section, const std::string& where);

  /// `is_start`: the text begins at the start of the whole text.
  AlignedText normalize(std::string_view text, bool is_start) const;
  bool empty() const { return steps_.empty(); }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace lora::tokenizer
