#include "tokenizer/unicode/properties.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <span>
#include <string_view>
#include <unordered_map>

#include "tokenizer/unicode/categories.inc"
#include "tokenizer/unicode/sets.inc"

namespace lora::tokenizer {
namespace {

constexpr char32_t kJoiners[] = {0x200c, 0x200d};  // in the regex crate's \w, not in Oniguruma's

CodePoints from_pairs(std::span<const uint32_t> pairs) {
  std::vector<CodePoints::Range> ranges;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    ranges.push_back({pairs[i], pairs[i + 1]});
  }
  return CodePoints(std::move(ranges));
}

/// Every category whose name begins with `prefix`: "L" for all letters.
CodePoints categories(std::string_view prefix) {
  std::vector<CodePoints::Range> ranges;
  for (size_t i = 0; i < std::size(kCategories); ++i) {
    if (std::string_view(kCategoryNames[kCategories[i] & 31]).starts_with(prefix)) {
      const char32_t end = i + 1 < std::size(kCategories) ? kCategories[i + 1] >> 5 : CodePoints::kLast + 1;
      ranges.push_back({kCategories[i] >> 5, end - 1});
    }
  }
  return CodePoints(std::move(ranges));
}

CodePoints oniguruma_word() {
  return from_pairs(kWord) & ~CodePoints({{kJoiners[0], kJoiners[1]}});
}

struct Alias {
  const char* name;
  const char* category;
};
constexpr Alias kAliases[] = {{"letter", "L"},
                              {"uppercaseletter", "Lu"},
                              {"lowercaseletter", "Ll"},
                              {"titlecaseletter", "Lt"},
                              {"modifierletter", "Lm"},
                              {"otherletter", "Lo"},
                              {"mark", "M"},
                              {"nonspacingmark", "Mn"},
                              {"number", "N"},
                              {"decimalnumber", "Nd"},
                              {"digit", "Nd"},
                              {"punctuation", "P"},
                              {"symbol", "S"},
                              {"mathsymbol", "Sm"},
                              {"currencysymbol", "Sc"},
                              {"separator", "Z"},
                              {"spaceseparator", "Zs"},
                              {"other", "C"},
                              {"control", "Cc"},
                              {"cntrl", "Cc"},
                              {"format", "Cf"},
                              {"unassigned", "Cn"}};

struct Script {
  const char* name;
  std::span<const uint32_t> pairs;
};
const Script kScripts[] = {{"arabic", kArabic},     {"bopomofo", kBopomofo}, {"cyrillic", kCyrillic}, {"devanagari", kDevanagari},
                           {"greek", kGreek},       {"han", kHan},           {"hangul", kHangul},     {"hebrew", kHebrew},
                           {"hiragana", kHiragana}, {"katakana", kKatakana}, {"latin", kLatin},       {"thai", kThai},
                           {"space", kSpace},       {"whitespace", kSpace}};

std::string folded_property_name(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c != ' ' && c != '-' && c != '_') {
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return result;
}

/// Lowercase forms, and the code points with each of them.
struct Cases {
  std::unordered_map<char32_t, char32_t> lower;
  std::unordered_map<char32_t, std::vector<char32_t>> upper;

  Cases() {
    for (size_t i = 0; i < std::size(kLowercase); i += 4) {
      for (int32_t code = kLowercase[i]; code <= kLowercase[i + 1]; code += kLowercase[i + 2]) {
        add(static_cast<char32_t>(code), static_cast<char32_t>(code + kLowercase[i + 3]));
      }
    }
    upper[U's'].push_back(0x17f);  // the long s folds to s, though it is lowercase itself
    lower[0x130] = U'i';
  }
  void add(char32_t code, char32_t low) {
    lower[code] = low;
    upper[low].push_back(code);
  }
};

const Cases& cases() {
  static const Cases tables;
  return tables;
}

}  // namespace

std::optional<CodePoints> named_property(const std::string& name) {
  const std::string needed = folded_property_name(name);
  for (const char* category : kCategoryNames) {
    if (needed == folded_property_name(category)) {
      return categories(category);
    }
    if (needed.size() == 1 && needed[0] == std::tolower(category[0])) {
      return categories(std::string_view(category, 1));
    }
  }
  for (const Alias& alias : kAliases) {
    if (needed == alias.name) {
      return categories(alias.category);
    }
  }
  for (const Script& script : kScripts) {
    if (needed == script.name) {
      return from_pairs(script.pairs);
    }
  }
  if (needed == "word") {
    return oniguruma_word();
  }
  return needed == "any" ? std::optional(~CodePoints()) : std::nullopt;
}

std::vector<std::string> property_names() {
  std::vector<std::string> names{"L", "M", "N", "P", "S", "Z", "C"};
  names.insert(names.end(), std::begin(kCategoryNames), std::end(kCategoryNames));
  for (const Script& script : kScripts) {
    names.emplace_back(script.name);
  }
  return names;
}

bool is_space(char32_t code) {
  static const PropertyTable table(from_pairs(kSpace));
  return table(code);
}

bool is_word(char32_t code) {
  static const PropertyTable table(from_pairs(kWord));
  return table(code);
}

bool is_numeric(char32_t code) {
  static const PropertyTable table(from_pairs(kNumeric));
  return table(code);
}

bool is_punctuation(char32_t code) {
  static const PropertyTable table(from_pairs(kPunctuation));
  return table(code);
}

bool is_control(char32_t code) {
  static const PropertyTable table(from_pairs(kControl));
  return table(code);
}

bool is_accent(char32_t code) {
  static const PropertyTable table(from_pairs(kAccent));
  return table(code);
}

bool is_mark(char32_t code) {
  static const PropertyTable table(from_pairs(kMark));
  return table(code);
}

char32_t lowercase(char32_t code) {
  if (code < 0x80) {
    return code >= U'A' && code <= U'Z' ? code + 32 : code;
  }
  const auto found = cases().lower.find(code);
  return found != cases().lower.end() ? found->second : code;
}

CodePoints any_case(char32_t code) {
  const char32_t low = lowercase(code == 0x17f ? U's' : code);
  std::vector<CodePoints::Range> ranges{{code, code}, {low, low}};
  const auto found = cases().upper.find(low);
  if (found != cases().upper.end()) {
    for (const char32_t upper : found->second) {
      ranges.push_back({upper, upper});
    }
  }
  return CodePoints(std::move(ranges));
}

}  // namespace lora::tokenizer
