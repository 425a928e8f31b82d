#include <array>
#include <cmath>
#include <cstdio>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/large_integers.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/pretty_text.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/jinja/wrap.h"

// Filters that format a value for people to read.
namespace lora::tokenizer::jinja {
namespace {

Value wrap_words(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  WrapStyle style;
  style.width = arguments.integer("width", 79);
  style.breaks_long_words = arguments.flag("break_long_words", true);
  const std::string separator = arguments.text("wrapstring", "\n");
  style.breaks_on_hyphens = arguments.flag("break_on_hyphens", true);
  if (!value.is_text()) {
    runtime.need_defined(value);
    runtime.fail("wordwrap() takes a string, found '" + value.type() + "'");
  }
  std::vector<std::string> lines;
  for (const std::string& paragraph : split_lines(value.text(), false)) {
    if (style.width <= 0) {
      runtime.fail("wordwrap(): found a width of " + std::to_string(style.width) + ", expected at least 1");
    }
    std::vector<std::string> wrapped = wrapped_lines(runtime, paragraph, style);
    if (wrapped.empty()) {
      wrapped.emplace_back();  // an empty line is kept
    }
    lines.insert(lines.end(), wrapped.begin(), wrapped.end());
  }
  std::string result;
  for (size_t i = 0; i < lines.size(); ++i) {
    runtime.reserve(lines[i].size() + separator.size());
    result += (i == 0 ? "" : separator) + lines[i];
  }
  return runtime.text(std::move(result));
}

Value format_file_size(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const bool is_binary = arguments.flag("binary", false);
  const auto size = float_of(value);
  if (!size) {
    runtime.need_defined(value);
    runtime.fail("filesizeformat() takes a number, found " + representation(runtime, value));
  }
  const std::string_view prefixes = is_binary ? "KMGTPEZY" : "kMGTPEZY";
  const long double base = is_binary ? 1024 : 1000;
  if (*size == 1) {
    return runtime.text("1 Byte");
  }
  if (*size < base) {
    if (std::isinf(*size)) {
      runtime.fail("cannot convert float infinity to integer");
    }
    return runtime.text(text_of(runtime, truncated(runtime, *size)) + " Bytes");
  }
  // Powers up to 1000^9 are exact in a long double; a double cannot hold 1000^8 exactly.
  size_t i = 0;
  long double unit = base * base;
  for (; i + 1 < prefixes.size() && !(*size < unit); ++i) {
    unit *= base;
  }
  const double shown = static_cast<double>(base) * *size / static_cast<double>(unit);
  std::array<char, 512> digits{};
  std::snprintf(digits.data(), digits.size(), "%.1f", shown);
  return runtime.text((std::isfinite(shown) ? digits.data() : float_text(shown)) + " " + prefixes[i] + (is_binary ? "iB" : "B"));
}

Value pretty_print(Runtime& runtime, const Value& value, ArgumentReader&) {
  return runtime.text(pretty_text(runtime, value));
}

}  // namespace

const FilterTable& layout_filters() {
  static const FilterTable kFilters{{"wordwrap", wrap_words}, {"filesizeformat", format_file_size}, {"pprint", pretty_print}};
  return kFilters;
}

}  // namespace lora::tokenizer::jinja
