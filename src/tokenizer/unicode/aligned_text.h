#pragma once
#include <algorithm>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// A text during normalization that tracks the origin of its beginning: the pre-tokenizer Metaspace may only add its space before a
/// piece that begins at the start of the whole text.
struct AlignedText {
  std::string text;
  size_t num_first = 0;  ///< bytes at the beginning of `text` that come from the first character of the original
};

/// Writes a normalizer's output.
class AlignedWriter {
 public:
  explicit AlignedWriter(const AlignedText& input) : first_(input.num_first) { result_.text.reserve(input.text.size()); }

  /// Appends `part`, which results from the character at byte `from` of the input.
  void put(std::string_view part, size_t from) {
    result_.text += part;
    is_first_ = is_first_ && from < first_;
    if (is_first_) {
      result_.num_first = result_.text.size();
    }
  }
  /// Appends `size` bytes of the input unchanged, from byte `from`.
  void copy(std::string_view input, size_t from, size_t size) {
    const size_t num_first = is_first_ && from < first_ ? std::min(size, first_ - from) : 0;
    result_.num_first += num_first;
    is_first_ = is_first_ && num_first == size;
    result_.text += input.substr(from, size);
  }
  AlignedText take() { return std::move(result_); }

 private:
  size_t first_;
  AlignedText result_;
  bool is_first_ = true;
};

}  // namespace lora::tokenizer
