#include "tokenizer/unicode/graphemes.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "tokenizer/unicode/breaks.inc"
#include "tokenizer/unicode/code_points.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

/// The kind of every code point: 4,352 pages, of which equal ones are shared.
class BreakTable {
 public:
  BreakTable() {
    std::map<std::array<Break, 256>, uint16_t> known;
    size_t run = 0;
    for (char32_t begin = 0; begin <= CodePoints::kLast; begin += 256) {
      std::array<Break, 256> page{};
      for (char32_t i = 0; i < 256; ++i) {
        while (run + 1 < std::size(kBreaks) && kBreaks[run + 1] >> 4 <= begin + i) {
          ++run;
        }
        page[i] = static_cast<Break>(kBreaks[run] & 15);
      }
      const auto [found, is_new] = known.try_emplace(page, static_cast<uint16_t>(known.size()));
      if (is_new) {
        kinds_.insert(kinds_.end(), page.begin(), page.end());
      }
      pages_.push_back(found->second);
    }
  }
  Break operator()(char32_t code) const { return kinds_[size_t{pages_[code >> 8]} << 8 | (code & 255)]; }

 private:
  std::vector<uint16_t> pages_;
  std::vector<Break> kinds_;
};

Break kind_of(char32_t code) {
  static const BreakTable table;
  return table(code);
}

/// Hangul syllables of two letters, to which a third may be added.
bool is_open_syllable(char32_t code) {
  return (code - 0xac00) % 28 == 0;
}

bool is_extending(Break kind) {
  return kind == Break::kExtend || kind == Break::kLinker || kind == Break::kNonJoiner;
}

/// The state of the rules after the characters so far.
class Clusters {
 public:
  explicit Clusters(char32_t first) { take(first, kind_of(first)); }

  /// Whether `code`, the next character, belongs to the cluster of the one before it.
  bool goes_on_with(char32_t code) {
    const Break kind = kind_of(code);
    const bool joined = joins(code, kind);
    take(code, kind);
    return joined;
  }

 private:
  // Rules GB3 to GB13, in their order.
  bool joins(char32_t code, Break kind) const {
    if (last_ == Break::kControl || kind == Break::kControl) {
      return code_ == U'\r' && code == U'\n';
    }
    if (last_ == Break::kPrepend) {
      return true;
    }
    switch (kind) {
      case Break::kExtend:
      case Break::kLinker:
      case Break::kSpacing:
      case Break::kJoiner:
      case Break::kNonJoiner:
        return true;
      case Break::kLead:
      case Break::kSyllable:
        return last_ == Break::kLead;
      case Break::kVowel:
        return last_ == Break::kLead || last_ == Break::kVowel || (last_ == Break::kSyllable && is_open_syllable(code_));
      case Break::kTail:
        return last_ == Break::kVowel || last_ == Break::kTail || last_ == Break::kSyllable;
      case Break::kConsonant:
        return is_linked_;
      case Break::kPictograph:
        return after_pictograph_ && last_ == Break::kJoiner;
      case Break::kRegional:
        return num_regional_ % 2 == 1;
      default:
        return false;
    }
  }

  void take(char32_t code, Break kind) {
    const bool in_conjunct = kind == Break::kExtend || kind == Break::kLinker || kind == Break::kJoiner;
    is_linked_ = after_consonant_ && in_conjunct && (is_linked_ || kind == Break::kLinker);
    after_consonant_ = kind == Break::kConsonant || (after_consonant_ && in_conjunct);
    after_pictograph_ =
        kind == Break::kPictograph || (after_pictograph_ && last_ != Break::kJoiner && (is_extending(kind) || kind == Break::kJoiner));
    num_regional_ = kind == Break::kRegional ? num_regional_ + 1 : 0;
    last_ = kind;
    code_ = code;
  }

  char32_t code_ = 0;
  Break last_ = Break::kOther;
  bool after_consonant_ = false;   ///< a consonant, followed only by characters that may occur within a conjunct
  bool is_linked_ = false;         ///< and one of them is a linker
  bool after_pictograph_ = false;  ///< a pictograph, marks, at most one joiner
  size_t num_regional_ = 0;        ///< the number of regional indicators so far
};

}  // namespace

void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& take) {
  if (text.empty()) {
    return;
  }
  size_t end = 0;
  Clusters clusters(next_code_point(text, end));
  size_t begin = 0;
  while (end < text.size()) {
    const size_t character = end;
    if (!clusters.goes_on_with(next_code_point(text, end))) {
      take(text.substr(begin, character - begin));
      begin = character;
    }
  }
  take(text.substr(begin));
}

}  // namespace lora::tokenizer
