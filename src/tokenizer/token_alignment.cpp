#include "tokenizer/token_alignment.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "tokenizer/json/byte_level.h"
#include "tokenizer/space_symbol.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kWindow = 48;   // the longest changed part, in bytes
constexpr size_t kAgreeing = 6;  // bytes that must be equal again after it

std::optional<char> fallback_byte(std::string_view name) {
  unsigned value = 0;
  if (name.size() != 6 || !name.starts_with("<0x") || name.back() != '>') {
    return std::nullopt;
  }
  const auto [end, error] = std::from_chars(name.data() + 3, name.data() + 5, value, 16);
  return error == std::errc() && end == name.data() + 5 ? std::optional(static_cast<char>(value)) : std::nullopt;
}

bool agree(std::string_view a, std::string_view b) {
  const size_t size = std::min({kAgreeing, a.size(), b.size()});
  return a.substr(0, size) == b.substr(0, size) && (size == kAgreeing || a.size() == b.size());
}

/// The size of the part where `text` and `made` differ, in bytes of each. The whole of both if they never agree again.
std::pair<size_t, size_t> changed_place(std::string_view text, std::string_view made) {
  for (size_t total = 1; total <= 2 * kWindow; ++total) {
    for (size_t i = total > kWindow ? total - kWindow : 0; i <= std::min(total, kWindow); ++i) {
      const size_t j = total - i;
      if (i <= text.size() && j <= made.size() && agree(text.substr(i), made.substr(j))) {
        return {i, j};
      }
    }
  }
  return {text.size(), made.size()};
}

bool is_inside_character(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
}

/// For each byte that the tokens spell, the bytes of the text.
std::vector<TextSpan> align_bytes(std::string_view text, std::string_view made) {
  std::vector<TextSpan> spans;
  spans.reserve(made.size());
  size_t at = 0;
  while (spans.size() < made.size()) {
    if (at < text.size() && text[at] == made[spans.size()]) {
      spans.push_back({at, at + 1});
      ++at;
      continue;
    }
    const auto [in_text, in_made] = changed_place(text.substr(at), made.substr(spans.size()));
    spans.insert(spans.end(), in_made, {at, at + in_text});
    at += in_text;
  }
  return spans;
}

void widen(std::string_view text, TextSpan& span) {
  if (span.begin == span.end && span.end < text.size()) {
    ++span.end;
  }
  while (is_inside_character(text, span.begin)) {
    --span.begin;
  }
  while (is_inside_character(text, span.end)) {
    ++span.end;
  }
}

}  // namespace

std::string token_bytes(std::string_view name, bool byte_level) {
  if (byte_level) {
    std::string bytes;
    for (size_t at = 0; at < name.size();) {
      const size_t begin = at;
      const auto byte = character_byte(next_code_point(name, at));
      byte ? bytes += static_cast<char>(*byte) : bytes += name.substr(begin, at - begin);
    }
    return bytes;
  }
  const auto byte = fallback_byte(name);
  return byte ? std::string(1, *byte) : with_spaces(std::string(name));
}

std::vector<TextSpan> align_tokens(std::string_view text, const std::vector<std::string>& tokens) {
  std::string made;
  for (const std::string& token : tokens) {
    made += token;
  }
  const std::vector<TextSpan> bytes = align_bytes(text, made);
  std::vector<TextSpan> spans;
  size_t begin = 0;
  for (const std::string& token : tokens) {
    const size_t end = begin + token.size();
    const size_t before = begin > 0 ? bytes[begin - 1].end : 0;
    TextSpan span = token.empty() ? TextSpan{before, before} : TextSpan{bytes[begin].begin, bytes[end - 1].end};
    widen(text, span);
    spans.push_back(span);
    begin = end;
  }
  return spans;
}

}  // namespace lora::tokenizer
