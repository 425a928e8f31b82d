#include "tokenizer/regex/alphabet.h"

#include <algorithm>
#include <array>
#include <map>

#include "lora/base/error.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kMaxLetters = 256;

/// The boundaries of all sets.
std::vector<char32_t> boundaries(const std::vector<CodePoints>& sets) {
  std::vector<char32_t> all{0};
  for (const CodePoints& set : sets) {
    for (const CodePoints::Range& range : set.ranges()) {
      all.push_back(range.first);
      all.push_back(range.last + 1);
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  while (all.back() > CodePoints::kLast) {
    all.pop_back();
  }
  return all;
}

}  // namespace

Alphabet::Alphabet(const std::vector<CodePoints>& sets, const std::string& where) : members_(sets.size()) {
  const std::vector<char32_t> begins = boundaries(sets);
  std::map<std::vector<bool>, uint8_t> known;
  std::vector<uint8_t> letter_at(begins.size());
  std::vector<bool> within(sets.size());
  for (size_t i = 0; i < begins.size(); ++i) {
    for (size_t s = 0; s < sets.size(); ++s) {
      within[s] = sets[s].contains(begins[i]);
    }
    if (known.size() == kMaxLetters && !known.contains(within)) {
      model_error(where, "a regular expression that distinguishes more than 256 kinds of characters is not supported");
    }
    const auto [found, is_new] = known.try_emplace(within, static_cast<uint8_t>(known.size()));
    for (size_t s = 0; is_new && s < sets.size(); ++s) {
      if (within[s]) {
        members_[s].push_back(found->second);
      }
    }
    letter_at[i] = found->second;
  }
  size_ = known.size();
  std::map<std::array<uint8_t, 256>, uint16_t> pages;
  size_t run = 0;
  for (char32_t begin = 0; begin <= CodePoints::kLast; begin += 256) {
    std::array<uint8_t, 256> page;
    for (char32_t i = 0; i < 256; ++i) {
      while (run + 1 < begins.size() && begins[run + 1] <= begin + i) {
        ++run;
      }
      page[i] = letter_at[run];
    }
    const auto [found, is_new] = pages.try_emplace(page, static_cast<uint16_t>(pages.size()));
    if (is_new) {
      letters_.insert(letters_.end(), page.begin(), page.end());
    }
    pages_.push_back(found->second);
  }
}

std::vector<uint8_t> Alphabet::spell(std::string_view text) const {
  std::vector<uint8_t> word(text.size());
  size_t length = 0;
  for (size_t at = 0; at < text.size();) {
    word[length++] = letter(next_code_point(text, at));
  }
  word.resize(length);
  return word;
}

}  // namespace lora::tokenizer
