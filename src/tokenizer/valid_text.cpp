#include "tokenizer/valid_text.h"

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::tokenizer {

void require_valid_text(std::string_view text) {
  const size_t invalid = invalid_utf8_at(text);
  if (invalid != std::string_view::npos) {
    data_error("tokenizer", "the text is not valid UTF-8 at byte " + std::to_string(invalid) + ": " + printable(text.substr(0, invalid)));
  }
}

}  // namespace lora::tokenizer
