#include "tokenizer/regex/pattern_reader.h"

#include <cctype>
#include <charconv>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/unicode/properties.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr int kMaxRepeats = 100'000;  // Oniguruma's own limit

CodePoints one(char32_t code) {
  return CodePoints({{code, code}});
}

CodePoints hex_digits() {
  return CodePoints({{U'0', U'9'}, {U'A', U'F'}, {U'a', U'f'}});
}

/// The property in \p{…} or \P{…}, after its letter.
CodePoints read_property(PatternReader& reader, bool negated) {
  if (!reader.skip("{")) {
    reader.fail("a property needs braces, as in \\p{L}");
  }
  if (reader.skip("^")) {
    negated = !negated;
  }
  const std::string name(reader.until('}'));
  const auto set = named_property(name);
  if (!set) {
    reader.fail("the property '" + printable(name) + "' is unknown; known: " + join(property_names()));
  }
  return negated ? ~*set : *set;
}

char32_t read_hex(PatternReader& reader, std::string_view digits) {
  uint32_t code = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || code > CodePoints::kLast) {
    reader.fail("'" + printable(digits) + "' is not a code point");
  }
  return code;
}

/// Up to `most` hexadecimal digits.
char32_t read_hex_digits(PatternReader& reader, size_t most) {
  std::string digits;
  while (digits.size() < most && !reader.at_end()) {
    const size_t before = reader.position();
    const char32_t code = reader.next();
    if (code > 0x7f || std::isxdigit(static_cast<int>(code)) == 0) {
      reader.go_to(before);
      break;
    }
    digits += static_cast<char>(code);
  }
  return read_hex(reader, digits);
}

std::optional<CodePoints> control_character(char32_t letter) {
  switch (letter) {
    case U'n':
      return one(U'\n');
    case U't':
      return one(U'\t');
    case U'r':
      return one(U'\r');
    case U'f':
      return one(U'\f');
    case U'v':
      return one(U'\v');
    case U'a':
      return one(U'\a');
    case U'e':
      return one(0x1b);
    case U'0':
      return one(0);
    default:
      return std::nullopt;
  }
}

std::optional<CodePoints> shorthand(char32_t letter) {
  switch (letter) {
    case U's':
      return named_property("Space");
    case U'd':
      return named_property("Nd");
    case U'w':
      return named_property("Word");
    case U'h':
      return hex_digits();
    case U'S':
    case U'D':
    case U'W':
    case U'H':
      return ~*shorthand(letter + 32);
    default:
      return std::nullopt;
  }
}

/// Reads the inside of a class.
class ClassReader {
 public:
  ClassReader(PatternReader& reader, bool ignore_case) : reader_(reader), ignore_case_(ignore_case) {}

  CodePoints read(int depth = 0) {
    if (depth > 20) {
      reader_.fail("classes are nested too deeply");
    }
    const bool negated = reader_.skip("^");
    std::optional<CodePoints> intersection;
    CodePoints part;
    bool first = true;
    while (first || !reader_.skip("]")) {
      if (reader_.skip("&&")) {
        intersection = intersection ? *intersection & part : part;
        part = CodePoints();
      } else {
        part = part | item(depth);
      }
      first = false;
    }
    CodePoints set = intersection ? *intersection & part : part;
    if (ignore_case_) {
      set = ignoring_case(set);
    }
    return negated ? ~set : set;
  }

 private:
  CodePoints item(int depth) {
    if (reader_.skip("[:")) {
      return posix_name();
    }
    if (reader_.skip("[")) {
      return read(depth + 1);
    }
    const CodePoints from = atom();
    const bool is_single = from.ranges().size() == 1 && from.ranges()[0].first == from.ranges()[0].last;
    if (!is_single || !reader_.looking_at("-") || reader_.looking_at("-]")) {
      return from;
    }
    reader_.skip("-");
    const CodePoints to = atom();
    if (to.ranges().size() != 1 || to.ranges()[0].first != to.ranges()[0].last || to.ranges()[0].first < from.ranges()[0].first) {
      reader_.fail("a range in a class ends before it begins");
    }
    return CodePoints({{from.ranges()[0].first, to.ranges()[0].first}});
  }

  CodePoints atom() {
    if (!reader_.skip("\\")) {
      return one(reader_.next());
    }
    if (reader_.skip("b")) {
      return one(0x08);
    }
    const auto set = read_escape(reader_);
    if (!set) {
      reader_.fail("this escape is not supported in a class");
    }
    return *set;
  }

  CodePoints posix_name() {
    const bool negated = reader_.skip("^");
    const std::string name(reader_.until(':'));
    if (!reader_.skip("]") || (name != "space" && name != "digit" && name != "word")) {
      reader_.fail("the class [:" + printable(name) + ":] is not supported; known: space, digit, word");
    }
    const CodePoints set = *named_property(name);
    return negated ? ~set : set;
  }

  PatternReader& reader_;
  bool ignore_case_;
};

}  // namespace

bool PatternReader::skip(std::string_view text) {
  if (!looking_at(text)) {
    return false;
  }
  at_ += text.size();
  return true;
}

char32_t PatternReader::next() {
  if (at_end()) {
    fail("it ends too early");
  }
  return next_code_point(pattern_, at_);
}

std::string_view PatternReader::until(char end) {
  const size_t found = pattern_.find(end, at_);
  if (found == std::string_view::npos) {
    fail(std::string("there is no closing '") + end + "'");
  }
  const std::string_view text = pattern_.substr(at_, found - at_);
  at_ = found + 1;
  return text;
}

std::optional<int> PatternReader::number() {
  const size_t begin = at_;
  int value = 0;
  while (!at_end() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
    value = value * 10 + (pattern_[at_++] - '0');
    if (value > kMaxRepeats) {
      fail("a repetition is too large: expected at most " + std::to_string(kMaxRepeats));
    }
  }
  return at_ == begin ? std::nullopt : std::optional(value);
}

void PatternReader::fail(const std::string& what) const {
  model_error(where_, "the regular expression '" + printable(pattern_, 100) + "' cannot be used: " + what + " (at position " +
                          std::to_string(at_) + ")");
}

std::optional<CodePoints> read_escape(PatternReader& reader) {
  const size_t begin = reader.position();
  const char32_t letter = reader.next();
  if (letter == U'p' || letter == U'P') {
    return read_property(reader, letter == U'P');
  }
  if (letter == U'x') {
    return one(reader.skip("{") ? read_hex(reader, reader.until('}')) : read_hex_digits(reader, 2));
  }
  if (letter == U'u') {
    return one(read_hex_digits(reader, 4));
  }
  if (auto set = shorthand(letter)) {
    return set;
  }
  if (auto set = control_character(letter)) {
    return set;
  }
  if (letter > 0x7f || std::isalnum(static_cast<int>(letter)) == 0) {
    return one(letter);
  }
  reader.go_to(begin);
  return std::nullopt;
}

CodePoints read_class(PatternReader& reader, bool ignore_case) {
  return ClassReader(reader, ignore_case).read();
}

CodePoints ignoring_case(const CodePoints& set) {
  std::vector<CodePoints::Range> ranges = set.ranges();
  for (const CodePoints::Range& range : set.ranges()) {
    for (char32_t code = range.first; code <= range.last; ++code) {
      const CodePoints cases = any_case(code);
      ranges.insert(ranges.end(), cases.ranges().begin(), cases.ranges().end());
    }
  }
  return CodePoints(std::move(ranges));
}

}  // namespace lora::tokenizer
