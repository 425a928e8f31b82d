#pragma once
#include "tokenizer/unicode/aligned_text.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {

/// `input` with each character replaced by what `put(code, out)` appends to `out`: one, several or none.
template <typename Put>
AlignedText for_each_character(const AlignedText& input, const Put& put) {
  AlignedWriter writer(input);
  std::string out;
  for (size_t at = 0; at < input.text.size();) {
    const size_t begin = at;
    out.clear();
    put(next_code_point(input.text, at), out);
    writer.put(out, begin);
  }
  return writer.take();
}

/// `input` without the characters for which `is_removed(code)`.
template <typename IsRemoved>
AlignedText without(const AlignedText& input, const IsRemoved& is_removed) {
  return for_each_character(input, [&](char32_t code, std::string& out) {
    if (!is_removed(code)) {
      append_utf8(out, code);
    }
  });
}

/// Each character in lower case, regardless of its neighbours (there is no final sigma).
AlignedText to_lowercase(const AlignedText& input);

}  // namespace lora::tokenizer
