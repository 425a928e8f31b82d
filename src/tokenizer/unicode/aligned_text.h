#pragma once
#include <algorithm>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// A text on its way through normalizers, which knows where its beginning comes from: the pre-tokenizer Metaspace may put its
/// space only before a piece that begins where the whole text did.
struct AlignedText {
  std::string text;
  size_t num_first = 0;  ///< bytes at the beginning of `text` that come from the first character of the original
};

/// Writes a normalizer's output.
class AlignedWriter {
 public:
  explicit AlignedWriter(const AlignedText& input) : first_(input.num_first) { result_.text.reserve(input.text.size()); }

  /// Appends `part`, made of the character at byte `from` of the input.
  void put(std::string_view part, size_t from) {
    result_.text += part;
    is_first_ = is_first_ && from < first_;
    if (is_first_) {
      result_.num_first = result_.text.size();
    }
  }
  /// Appends `size` bytes of the input as they are, from byte `from` on.
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
