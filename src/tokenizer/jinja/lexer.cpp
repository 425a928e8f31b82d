#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <cctype>

#include "lora/base/text.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/jinja/string_escapes.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

/// Every line end becomes \n; one at the end of the template is removed.
std::string normalized(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      text += '\n';
    }
  }
  if (text.ends_with('\n')) {
    text.pop_back();
  }
  return text;
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_digit_character(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      take_text();
      if (at_ < source_.size()) {
        take_tag();
      }
    }
    add(TokenKind::kEnd, "", at_);
    return std::move(tokens_);
  }

 private:
  Position position(size_t offset) {
    for (; counted_ < offset; ++counted_) {
      if (source_[counted_] == '\n') {
        ++line_;
        line_begin_ = counted_ + 1;
      }
    }
    return {line_, static_cast<int>(offset - line_begin_) + 1};
  }
  [[noreturn]] void fail(size_t offset, const std::string& message) { throw Failure(position(std::max(offset, counted_)), message); }
  void add(TokenKind kind, std::string text, size_t offset) { tokens_.push_back({kind, std::move(text), position(offset)}); }
  bool has(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }
  char peek(size_t offset) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }

  size_t next_tag() const {
    for (size_t at = source_.find('{', at_); at != std::string::npos; at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') {
        return at;
      }
    }
    return source_.size();
  }

  /// The text before a tag, trimmed according to the tag's sign: '-' removes all white space before it; without a sign, a block that begins
  /// its line loses the line's white space.
  void add_text(size_t begin, size_t end, size_t tag) {
    std::string_view text = std::string_view(source_).substr(begin, end - begin);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool is_block = tag < source_.size() && source_[tag + 1] != '{';
    if (tag < source_.size() && sign == '-') {
      text = stripped(text, std::nullopt, false, true);
    } else if (is_block && sign != '+') {
      const size_t line = text.rfind('\n') + 1;  // 0 if there is none
      if ((line > 0 || starts_line_) && stripped(text.substr(line), std::nullopt, false, true).empty()) {
        text = text.substr(0, line);
      }
    }
    if (!text.empty()) {
      add(TokenKind::kText, std::string(text), begin);
    }
  }

  void take_text() {
    const size_t tag = next_tag();
    add_text(at_, tag, tag);
    at_ = tag;
  }

  void skip_sign() {
    at_ += 2;
    at_ += peek(0) == '-' || peek(0) == '+' ? 1 : 0;
  }

  void skip_spaces() {
    while (at_ < source_.size()) {
      size_t next = at_;
      if (!is_python_space(next_code_point(source_, next))) {
        return;
      }
      at_ = next;
    }
  }

  /// Takes `end` ("%}") and what belongs to it: after a '-' all following white space, otherwise one line end if `trims`.
  bool take_end(std::string_view end, bool trims, bool knows_plus = true) {
    const size_t begin = at_;
    const char sign = peek(0) == '-' || (peek(0) == '+' && knows_plus) ? peek(0) : '\0';
    at_ += sign != '\0' ? 1 : 0;
    if (!has(end)) {
      at_ = begin;
      return false;
    }
    at_ += end.size();
    if (sign == '-') {
      skip_spaces();
    } else if (sign == '\0' && trims && peek(0) == '\n') {
      ++at_;
    }
    starts_line_ = source_[at_ - 1] == '\n';
    return true;
  }

  void take_tag() {
    const size_t begin = at_;
    switch (source_[at_ + 1]) {
      case '#':
        return take_comment(begin);
      case '{':
        add(TokenKind::kPrintBegin, "{{", begin);
        skip_sign();
        return take_inside(begin, "}}", TokenKind::kPrintEnd);
      default:
        if (take_raw(begin)) {
          return;
        }
        add(TokenKind::kBlockBegin, "{%", begin);
        skip_sign();
        return take_inside(begin, "%}", TokenKind::kBlockEnd);
    }
  }

  void take_comment(size_t begin) {
    skip_sign();
    for (; at_ < source_.size(); ++at_) {
      if (take_end("#}", true)) {
        return;
      }
    }
    fail(begin, "a comment does not end: expected '#}'");
  }

  /// The word of a block that holds nothing else; moves the position past the block.
  bool take_word(std::string_view word) {
    const size_t begin = at_;
    skip_sign();
    skip_spaces();
    if (has(word)) {
      at_ += word.size();
      skip_spaces();
      return true;
    }
    at_ = begin;
    return false;
  }

  bool take_raw(size_t begin) {
    if (!take_word("raw") || !take_end("%}", false, false)) {
      at_ = begin;
      return false;
    }
    const size_t text = at_;
    const bool starts_line = starts_line_;
    for (at_ = source_.find("{%", at_); at_ != std::string::npos; at_ = source_.find("{%", at_ + 1)) {
      const size_t end = at_;
      if (take_word("endraw") && take_end("%}", true)) {
        const bool ends_line = starts_line_;
        starts_line_ = starts_line;
        add_text(text, end, end);
        starts_line_ = ends_line;
        return true;
      }
      at_ = end;
    }
    fail(begin, "a raw block does not end: expected '{% endraw %}'");
  }

  void take_inside(size_t begin, std::string_view end, TokenKind end_kind) {
    std::string open;  // open brackets
    while (true) {
      skip_spaces();
      const size_t at = at_;
      if (at_ >= source_.size()) {
        fail(begin, "the tag does not end: expected '" + std::string(end) + "'");
      }
      if (open.empty() && take_end(end, end_kind == TokenKind::kBlockEnd, end_kind == TokenKind::kBlockEnd)) {
        add(end_kind, std::string(end), at);
        return;
      }
      if (is_digit_character(peek(0))) {
        take_number();
      } else if (is_name_character(peek(0))) {
        while (is_name_character(peek(0))) {
          ++at_;
        }
        add(TokenKind::kName, source_.substr(at, at_ - at), at);
      } else if (peek(0) == '\'' || peek(0) == '"') {
        take_string();
      } else {
        take_operator(open);
      }
    }
  }

  /// Reads digits with single underscores between them.
  size_t digits(size_t at) const {
    const size_t begin = at;
    while (at < source_.size() && (is_digit_character(source_[at]) ||
                                   (at > begin && source_[at] == '_' && at + 1 < source_.size() && is_digit_character(source_[at + 1])))) {
      ++at;
    }
    return at;
  }

  void take_number() {
    const size_t begin = at_;
    size_t end = digits(begin);
    bool is_float = false;
    const bool follows_dot = begin > 0 && source_[begin - 1] == '.';
    const auto byte = [this](size_t at) { return at < source_.size() ? source_[at] : '\0'; };
    if (!follows_dot && byte(end) == '.' && is_digit_character(byte(end + 1))) {
      end = digits(end + 1);
      is_float = true;
    }
    if (!follows_dot && (byte(end) | 0x20) == 'e') {
      const size_t exponent = end + (byte(end + 1) == '+' || byte(end + 1) == '-' ? 2 : 1);
      if (is_digit_character(byte(exponent))) {
        end = digits(exponent);
        is_float = true;
      }
    }
    const char base = static_cast<char>(byte(begin + 1) | 0x20);
    if (!is_float && source_[begin] == '0' && (base == 'x' || base == 'o' || base == 'b')) {
      end = begin + 2;
      while (std::isxdigit(static_cast<unsigned char>(byte(end))) != 0 || byte(end) == '_') {
        ++end;
      }
    } else if (!is_float && source_[begin] == '0' && source_.find_first_not_of("0_", begin) < end) {
      fail(begin, "a number begins with 0: expected no leading zeros");
    }
    std::string text = source_.substr(begin, end - begin);
    std::erase(text, '_');
    at_ = end;
    add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text), begin);
  }

  void take_string() {
    const size_t begin = at_;
    const char quote = source_[at_++];
    while (at_ < source_.size() && source_[at_] != quote) {
      at_ += source_[at_] == '\\' ? 2 : 1;
    }
    if (at_ >= source_.size()) {
      fail(begin, "a string does not end");
    }
    const Position where = position(begin);
    add(TokenKind::kString, unescaped(std::string_view(source_).substr(begin + 1, at_ - begin - 1), where), begin);
    ++at_;
  }

  void take_operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                                      "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto found = std::find_if(std::begin(kOperators), std::end(kOperators), [this](std::string_view op) { return has(op); });
    if (found == std::end(kOperators)) {
      fail(at_, "unexpected character '" + printable(source_.substr(at_, utf8_length(static_cast<unsigned char>(source_[at_])))) + "'");
    }
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') {
      open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) {
        fail(at_, std::string("unexpected '") + c + "'" + (open.empty() ? "" : std::string(", expected '") + open.back() + "'"));
      }
      open.pop_back();
    }
    add(TokenKind::kOperator, std::string(*found), at_);
    at_ += found->size();
  }

  std::string source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool starts_line_ = true;  ///< the text taken last ends with a line end
  size_t counted_ = 0;       ///< the offset up to which lines are counted
  int line_ = 1;
  size_t line_begin_ = 0;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(normalized(source)).run();
}

}  // namespace lora::tokenizer::jinja
