#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

/// The entry of `known` nearest to `name` by edit distance, or "" if none is near enough to be a typing error.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// " (did you mean 'x'?)", or "" if nothing is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

/// a, b and c → "a, b, c"; at most `limit` items, then "… (n more)".
std::string join(const std::vector<std::string>& items, std::string_view separator = ", ", size_t limit = SIZE_MAX);

/// Byte offset of the first byte that is not valid UTF-8 (overlong forms and surrogates are invalid), or npos.
size_t invalid_utf8_at(std::string_view text);

/// Whether a shell pattern matches the whole text: *, ?, [a-z]; '*' does not match '/'.
bool matches_glob(std::string_view pattern, std::string_view text);

/// 1234567 → "1,234,567".
std::string with_thousands(int64_t value);

/// 1536 → "1.5 KiB".
std::string human_bytes(int64_t bytes);

/// Seconds → "1h02m", "3m05s", "12s".
std::string human_seconds(double seconds);

bool starts_with_any(std::string_view text, const std::vector<std::string>& prefixes);
std::string trim(std::string_view text);
/// The text up to the first line break: the useful part of messages that end with notes and stack traces.
std::string first_line(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);

/// `text` truncated to `limit` bytes at a code point boundary, with "…"; control characters are shown as escapes. For messages.
std::string printable(std::string_view text, size_t limit = 60);

}  // namespace lora
