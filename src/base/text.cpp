#include "lora/base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <numeric>

namespace lora {

namespace {

constexpr size_t kLongestName = 200;  // no known name is longer; it bounds the cost of a comparison

/// Spellings that people often confuse count as equal.
char folded(char c) {
  if (c >= 'A' && c <= 'Z') {
    return static_cast<char>(c - 'A' + 'a');
  }
  return c == '-' ? '_' : c;
}

/// The number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = folded(a[i - 1]) == folded(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1])) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

/// Short forms that the edit distance does not find.
struct ShortForm {
  std::string_view name;
  std::string_view meant;
};
constexpr std::array<ShortForm, 9> kShortForms{{{"bf16", "bfloat16"},
                                                {"bfloat", "bfloat16"},
                                                {"fp16", "float16"},
                                                {"f16", "float16"},
                                                {"half", "float16"},
                                                {"fp32", "float32"},
                                                {"f32", "float32"},
                                                {"float", "float32"},
                                                {"full", "float32"}}};

/// The meaning of a short form if it is one of `known`.
std::string meant_by_short_form(std::string_view name, const std::vector<std::string>& known) {
  std::string plain;
  std::transform(name.begin(), name.end(), std::back_inserter(plain), folded);
  for (const ShortForm& form : kShortForms) {
    if (plain == form.name && std::find(known.begin(), known.end(), form.meant) != known.end()) {
      return std::string(form.meant);
    }
  }
  return "";
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  std::string nearest = name.size() > kLongestName ? "" : meant_by_short_form(name, known);
  if (!nearest.empty()) {
    return nearest;
  }
  size_t nearest_distance = SIZE_MAX;
  for (const std::string& candidate : known) {
    const size_t longer = std::max(name.size(), candidate.size());
    const size_t allowed = std::max<size_t>(1, longer / 3);
    if (longer > kLongestName || longer - std::min(name.size(), candidate.size()) > allowed) {
      continue;
    }
    const size_t distance = edit_distance(name, candidate);
    if (distance <= allowed && distance < longer && distance < nearest_distance) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  return nearest;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "" : " (did you mean '" + nearest + "'?)";
}

std::string join(const std::vector<std::string>& items, std::string_view separator, size_t limit) {
  std::string result;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) {
      result += separator;
    }
    if (i == limit) {
      return result + "… (" + std::to_string(items.size() - limit) + " more)";
    }
    result += items[i];
  }
  return result;
}

bool starts_with_any(std::string_view text, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) { return text.starts_with(prefix); });
}

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

std::string trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) {
    return "";
  }
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> result;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string_view::npos; end = text.find(separator, begin)) {
    result.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  result.emplace_back(text.substr(begin));
  return result;
}

std::string with_thousands(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, ",");
  }
  return digits;
}

std::string human_bytes(int64_t bytes) {
  constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // Without this, 1023.95 would be shown as "1024.0".
  while (std::abs(value) >= (unit == 0 ? 1024.0 : 1023.95) && unit + 1 < kUnits.size()) {
    value /= 1024.0;
    ++unit;
  }
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return buffer.data();
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) {
    return "?";
  }
  const int64_t total = std::llround(seconds);
  std::array<char, 48> buffer;
  if (total >= 3600) {
    std::snprintf(buffer.data(), buffer.size(), "%lldh%02lldm", static_cast<long long>(total / 3600),
                  static_cast<long long>(total % 3600 / 60));
  } else if (total >= 60) {
    std::snprintf(buffer.data(), buffer.size(), "%lldm%02llds", static_cast<long long>(total / 60), static_cast<long long>(total % 60));
  } else {
    std::snprintf(buffer.data(), buffer.size(), "%llds", static_cast<long long>(total));
  }
  return buffer.data();
}

}  // namespace lora
