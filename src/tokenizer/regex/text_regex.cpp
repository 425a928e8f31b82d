#include "tokenizer/regex/text_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <optional>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/regex/alphabet.h"
#include "tokenizer/regex/pattern.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

/// The backtracking steps of one match: a published pattern takes at most a few per character.
constexpr uint32_t kStepsPerMatch = 10'000'000;
constexpr uint32_t kStepsPerCharacter = 64;

std::string message_of(int code) {
  PCRE2_UCHAR8 buffer[256];
  pcre2_get_error_message_8(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

std::string hex(uint8_t letter) {
  constexpr const char* kDigits = "0123456789abcdef";
  return std::string("\\x") + kDigits[letter >> 4] + kDigits[letter & 15];
}

/// A class of letters in PCRE2's syntax.
std::string class_text(const std::vector<uint8_t>& letters) {
  if (letters.empty()) {
    return "(?!)";
  }
  std::string text = "[";
  for (size_t i = 0; i < letters.size();) {
    size_t end = i + 1;
    while (end < letters.size() && letters[end] == letters[end - 1] + 1) {
      ++end;
    }
    text += hex(letters[i]) + (end > i + 1 ? "-" + hex(letters[end - 1]) : "");
    i = end;
  }
  return text + "]";
}

struct FreeCode {
  void operator()(pcre2_code_8* code) const { pcre2_code_free_8(code); }
};
struct FreeContext {
  void operator()(pcre2_match_context_8* context) const { pcre2_match_context_free_8(context); }
};
struct FreeData {
  void operator()(pcre2_match_data_8* data) const { pcre2_match_data_free_8(data); }
};

/// Byte offsets of characters, requested from left to right.
class Offsets {
 public:
  Offsets(std::string_view text, size_t num_characters) : text_(text), is_ascii_(text.size() == num_characters) {}

  size_t of(size_t character) {
    if (is_ascii_) {
      return character;
    }
    for (; character_ < character; ++character_) {
      byte_ += utf8_length(static_cast<unsigned char>(text_[byte_]));
    }
    return byte_;
  }

 private:
  std::string_view text_;
  bool is_ascii_;
  size_t character_ = 0;
  size_t byte_ = 0;
};

}  // namespace

struct TextRegex::Impl {
  std::string pattern;
  std::string where;
  std::optional<Alphabet> alphabet;
  std::unique_ptr<pcre2_code_8, FreeCode> code;

  void compile() {
    const Pattern parsed = parse_pattern(pattern, where);
    alphabet.emplace(parsed.sets, where);
    std::string text;
    for (const PatternItem& item : parsed.items) {
      text += item.set < 0 ? item.text : class_text(alphabet->letters_of(static_cast<size_t>(item.set)));
    }
    int error = 0;
    PCRE2_SIZE offset = 0;
    code.reset(pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(text.data()), text.size(), 0, &error, &offset, nullptr));
    if (code == nullptr) {
      model_error(where, "'" + printable(pattern, 100) + "' is not a valid regular expression: " + message_of(error));
    }
    pcre2_jit_compile_8(code.get(), PCRE2_JIT_COMPLETE);  // without a compiler for this machine, the pattern is interpreted
  }

  /// The first match at or after `start`, in characters.
  std::optional<Span> search(const std::vector<uint8_t>& word, size_t start, pcre2_match_data_8* data,
                             pcre2_match_context_8* context) const {
    int result = pcre2_match_8(code.get(), word.data(), word.size(), start, 0, data, context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match_8(code.get(), word.data(), word.size(), start, PCRE2_NO_JIT, data, context);
    }
    if (result == PCRE2_ERROR_NOMATCH) {
      return std::nullopt;
    }
    if (result < 0) {
      model_error(where, "the regular expression '" + printable(pattern, 100) + "' fails on a text of " + std::to_string(word.size()) +
                             " characters: " + message_of(result) + ". Likely cause: a pattern that backtracks endlessly.");
    }
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer_8(data);
    return Span{offsets[0], offsets[1]};
  }
};

TextRegex::TextRegex(std::string_view pattern, const std::string& where) {
  auto impl = std::make_shared<Impl>();
  impl->pattern = pattern;
  impl->where = where;
  impl->compile();
  impl_ = std::move(impl);
}

std::vector<Span> TextRegex::find_all(std::string_view text) const {
  const std::vector<uint8_t> word = impl_->alphabet->spell(text);
  const std::unique_ptr<pcre2_match_data_8, FreeData> data(pcre2_match_data_create_8(1, nullptr));
  const std::unique_ptr<pcre2_match_context_8, FreeContext> context(pcre2_match_context_create_8(nullptr));
  const size_t steps = kStepsPerMatch + word.size() * kStepsPerCharacter;
  pcre2_set_match_limit_8(context.get(), static_cast<uint32_t>(std::min<size_t>(steps, UINT32_MAX)));
  Offsets offsets(text, word.size());
  std::vector<Span> matches;
  size_t start = 0;
  std::optional<size_t> last_end;
  while (start <= word.size()) {
    const auto match = impl_->search(word, start, data.get(), context.get());
    if (!match) {
      break;
    }
    if (match->begin == match->end && last_end == match->end) {
      ++start;  // an empty match directly after a match does not count
      continue;
    }
    const size_t begin = offsets.of(match->begin);
    matches.push_back({begin, offsets.of(match->end)});
    start = match->end;
    last_end = match->end;
  }
  return matches;
}

}  // namespace lora::tokenizer
