#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/unicode/utf8.h"

// Python's text % arguments.
namespace lora::tokenizer::jinja {
namespace {

constexpr int kWidestField = 10'000;

/// %[(name)][flags][width][.precision]letter
struct Conversion {
  std::optional<std::string> name;
  bool left = false;
  bool zero = false;
  bool plus = false;
  bool space = false;
  bool alternate = false;
  int width = 0;
  int precision = -1;
  char letter = 0;
};

class Formatter {
 public:
  Formatter(Runtime& runtime, const std::string& format, const Value& arguments)
      : runtime_(runtime), format_(format), arguments_(arguments) {
    const Sequence* items = arguments.sequence();
    is_tuple_ = items != nullptr && items->kind == Sequence::Kind::kTuple;
  }

  std::string run() {
    std::string result;
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      result.append(format_, at_, percent - at_);
      at_ = percent;
      if (at_ < format_.size()) {
        ++at_;
        const std::string part = converted(read());
        runtime_.reserve(part.size() + 1);
        result += part;
      }
    }
    // A value with items could be used by %(names)s, so it never counts as unused.
    const bool has_items = arguments_.mapping() != nullptr || arguments_.sequence() != nullptr || arguments_.is_undefined();
    const bool is_left_over = is_tuple_ ? next_ < arguments_.sequence()->items.size() : next_ == 0 && !has_items;
    if (is_left_over) {
      runtime_.fail("not all arguments converted during string formatting");
    }
    return result;
  }

 private:
  char next_character() {
    if (at_ >= format_.size()) {
      runtime_.fail("incomplete format");
    }
    return format_[at_++];
  }

  int read_number() {
    if (at_ < format_.size() && format_[at_] == '*') {
      ++at_;
      const Value value = next_argument();
      if (!value.is_integer() || std::abs(value.integer()) > kWidestField) {
        runtime_.fail("* needs int in a format");
      }
      return static_cast<int>(value.integer());
    }
    int number = 0;
    while (at_ < format_.size() && format_[at_] >= '0' && format_[at_] <= '9') {
      number = number * 10 + (format_[at_++] - '0');
      if (number > kWidestField) {
        runtime_.fail("a width or precision is too large: found more than " + std::to_string(kWidestField));
      }
    }
    return number;
  }

  Conversion read() {
    Conversion conversion;
    if (at_ < format_.size() && format_[at_] == '(') {
      const size_t end = format_.find(')', at_);
      if (end == std::string::npos) {
        runtime_.fail("incomplete format key");
      }
      conversion.name = format_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    }
    char letter = next_character();
    for (; std::string_view("-+ #0").find(letter) != std::string_view::npos; letter = next_character()) {
      (letter == '-'   ? conversion.left
       : letter == '+' ? conversion.plus
       : letter == ' ' ? conversion.space
       : letter == '#' ? conversion.alternate
                       : conversion.zero) = true;
    }
    --at_;
    conversion.width = read_number();
    if (conversion.width < 0) {
      conversion.left = true;
      conversion.width = -conversion.width;
    }
    if (at_ < format_.size() && format_[at_] == '.') {
      ++at_;
      conversion.precision = std::max(0, read_number());
    }
    conversion.letter = next_character();
    while (std::string_view("hlL").find(conversion.letter) != std::string_view::npos) {
      conversion.letter = next_character();
    }
    return conversion;
  }

  Value next_argument() {
    if (is_tuple_) {
      if (next_ >= arguments_.sequence()->items.size()) {
        runtime_.fail("not enough arguments for format string");
      }
      return arguments_.sequence()->items[next_++];
    }
    if (next_++ > 0) {
      runtime_.fail("not enough arguments for format string");
    }
    return arguments_;
  }

  Value argument_of(const Conversion& conversion) {
    if (!conversion.name) {
      return next_argument();
    }
    const Mapping* mapping = arguments_.mapping();
    if (mapping == nullptr) {
      runtime_.fail("format requires a mapping");
    }
    const Value* value = mapping->find(*conversion.name);
    if (value == nullptr) {
      runtime_.fail("no value for '" + *conversion.name + "' in a format");
    }
    return *value;
  }

  std::string converted(const Conversion& conversion) {
    if (conversion.letter == '%') {
      return padded("%", conversion);
    }
    const Value value = argument_of(conversion);
    switch (conversion.letter) {
      case 's':
        return padded(cut(text_of(runtime_, value), conversion), conversion);
      case 'r':
      case 'a':
        return padded(cut(representation(runtime_, value), conversion), conversion);
      case 'c':
        return padded(character(value), conversion);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return signed_text(integer_digits(value, conversion), conversion);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return signed_text(float_digits(value, conversion), conversion);
      default:
        runtime_.fail(std::string("unsupported format character '") + conversion.letter + "'");
    }
  }

  static std::string cut(std::string text, const Conversion& conversion) {
    return conversion.precision < 0 ? text : text.substr(0, byte_of_character(text, static_cast<size_t>(conversion.precision)));
  }

  static std::string padded(const std::string& text, const Conversion& conversion) {
    const size_t size = num_characters(text);
    const std::string filler(static_cast<size_t>(conversion.width) > size ? static_cast<size_t>(conversion.width) - size : 0, ' ');
    return conversion.left ? text + filler : filler + text;
  }

  std::string character(const Value& value) {
    if (value.is_text() && num_characters(value.text()) == 1) {
      return value.text();
    }
    if (!value.is_integer() || value.integer() < 0 || value.integer() > 0x10ffff ||
        (value.integer() >= 0xd800 && value.integer() < 0xe000)) {
      runtime_.fail("%c requires int or char");
    }
    std::string text;
    append_utf8(text, static_cast<char32_t>(value.integer()));
    return text;
  }

  std::string integer_digits(const Value& value, const Conversion& conversion) {
    const bool is_decimal = std::string_view("diu").find(conversion.letter) != std::string_view::npos;
    runtime_.need_defined(value);
    if (value.is_large() && is_decimal && conversion.precision < 0) {
      return value.digits();
    }
    if (!value.is_number() || (value.is_float() && (!is_decimal || !std::isfinite(value.number()) || std::fabs(value.number()) > 9e18))) {
      runtime_.fail(std::string("%") + conversion.letter + " format: an integer is required, not " + value.type());
    }
    const int64_t number = value.is_float() ? static_cast<int64_t>(value.number()) : value.integer();
    const uint64_t size = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    std::array<char, 72> buffer{};
    const char* pattern = is_decimal ? "%llu" : conversion.letter == 'x' ? "%llx" : conversion.letter == 'X' ? "%llX" : "%llo";
    std::snprintf(buffer.data(), buffer.size(), pattern, static_cast<unsigned long long>(size));
    std::string digits = buffer.data();
    if (conversion.precision > static_cast<int>(digits.size())) {
      digits.insert(0, static_cast<size_t>(conversion.precision) - digits.size(), '0');
    }
    if (conversion.alternate && !is_decimal) {
      digits.insert(0, std::string("0") + conversion.letter);
    }
    return (number < 0 ? "-" : "") + digits;
  }

  std::string float_digits(const Value& value, const Conversion& conversion) {
    runtime_.need_defined(value);
    if (!value.is_number()) {
      runtime_.fail("must be real number, not " + value.type());
    }
    if (!std::isfinite(value.number())) {
      return float_text(value.number());
    }
    const std::string pattern = std::string("%") + (conversion.alternate ? "#" : "") + ".*" + conversion.letter;
    const int precision = conversion.precision < 0 ? 6 : conversion.precision;
    std::string digits(static_cast<size_t>(precision) + 400, '\0');
    const int size = std::snprintf(digits.data(), digits.size(), pattern.c_str(), precision, value.number());
    return digits.substr(0, static_cast<size_t>(size));
  }

  static std::string signed_text(std::string digits, const Conversion& conversion) {
    if (!digits.starts_with('-') && (conversion.plus || conversion.space)) {
      digits.insert(0, conversion.plus ? "+" : " ");
    }
    const size_t first = digits.find_first_not_of("+- ");
    const bool has_prefix = conversion.alternate && digits.size() > first + 1 && digits[first] == '0' &&
                            std::string_view("xXo").find(digits[first + 1]) != std::string_view::npos;
    if (conversion.zero && !conversion.left && static_cast<size_t>(conversion.width) > digits.size()) {
      digits.insert(first + (has_prefix ? 2 : 0), static_cast<size_t>(conversion.width) - digits.size(), '0');
    }
    return padded(digits, conversion);
  }

  Runtime& runtime_;
  const std::string& format_;
  const Value& arguments_;
  bool is_tuple_ = false;
  size_t at_ = 0;
  size_t next_ = 0;
};

}  // namespace

std::string formatted(Runtime& runtime, const std::string& format, const Value& arguments) {
  return Formatter(runtime, format, arguments).run();
}

}  // namespace lora::tokenizer::jinja
