#include "tokenizer/regex/pattern.h"

#include <algorithm>

#include "tokenizer/regex/pattern_reader.h"
#include "tokenizer/unicode/properties.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kMaxDepth = 100;
constexpr size_t kMaxItems = 100'000;

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : reader_(pattern, where) {}

  Pattern translate() {
    groups_.push_back({0, 0, false});
    while (!reader_.at_end()) {
      element();
      if (result_.items.size() > kMaxItems) {
        reader_.fail("it is too long");
      }
    }
    if (groups_.size() > 1) {
      reader_.fail("a '(' is never closed");
    }
    close_options();
    return std::move(result_);
  }

 private:
  /// An open group: its offset, the groups that (?i) opened in it, and whether case is ignored around it.
  struct Group {
    size_t begin;
    int num_options;
    bool outer_ignore_case;
  };

  void element() {
    if (reader_.skip("(")) {
      open_group();
    } else if (reader_.skip(")")) {
      close_group();
    } else if (reader_.skip("|")) {
      put("|");
      atom_ = kNone;
    } else if (reader_.skip("[")) {
      put_atom(read_class(reader_, ignore_case_));
    } else if (reader_.skip(".")) {
      put_atom(~newline());
    } else if (reader_.skip("^")) {
      assertion({"(?:\\A|(?<=", "\n", ")(?!\\z))"});
    } else if (reader_.skip("$")) {
      assertion({"(?:(?=", "\n", ")|(?<!", "\n", ")\\z)"});
    } else if (reader_.skip("\\")) {
      escape();
    } else if (!quantifier()) {
      const char32_t code = reader_.next();
      put_atom(ignore_case_ ? any_case(code) : CodePoints({{code, code}}));
    }
  }

  void escape() {
    if (const auto set = read_escape(reader_)) {
      put_atom(ignore_case_ ? ignoring_case(*set) : *set);
    } else if (reader_.skip("A")) {
      assertion({"\\A"});
    } else if (reader_.skip("z")) {
      assertion({"\\z"});
    } else if (reader_.skip("Z")) {
      assertion({"(?=", "\n", "?\\z)"});
    } else if (reader_.skip("b")) {
      assertion({"(?:(?<=", "w", ")(?!", "w", ")|(?<!", "w", ")(?=", "w", "))"});
    } else if (reader_.skip("B")) {
      assertion({"(?:(?<=", "w", ")(?=", "w", ")|(?<!", "w", ")(?!", "w", "))"});
    } else {
      reader_.fail("this escape is not supported");
    }
  }

  void open_group() {
    if (!reader_.skip("?")) {
      return begin_group("(?:", ignore_case_);
    }
    for (const char* kind : {":", "=", "!", "<=", "<!", ">"}) {
      if (reader_.skip(kind)) {
        return begin_group(std::string("(?") + kind, ignore_case_);
      }
    }
    if (reader_.skip("#")) {
      reader_.until(')');
      return;
    }
    const bool ignore_case = reader_.skip("i") || (reader_.skip("-i") ? false : unsupported_group());
    if (reader_.skip(":")) {
      return begin_group("(?:", ignore_case);
    }
    if (!reader_.skip(")")) {
      unsupported_group();
    }
    // It applies up to the end of the group around it, including its alternatives.
    put("(?:");
    ++groups_.back().num_options;
    ignore_case_ = ignore_case;
    atom_ = kNone;
  }

  bool unsupported_group() const { reader_.fail("this kind of group is not supported"); }

  void begin_group(const std::string& text, bool ignore_case) {
    if (groups_.size() > kMaxDepth) {
      reader_.fail("groups are nested too deeply");
    }
    groups_.push_back({result_.items.size(), 0, ignore_case_});
    put(text);
    ignore_case_ = ignore_case;
    atom_ = kNone;
  }

  void close_group() {
    if (groups_.size() == 1) {
      reader_.fail("a ')' has no matching '('");
    }
    close_options();
    put(")");
    ignore_case_ = groups_.back().outer_ignore_case;
    atom_ = groups_.back().begin;
    is_repeated_ = false;
    groups_.pop_back();
  }

  void close_options() {
    for (int i = 0; i < groups_.back().num_options; ++i) {
      put(")");
    }
  }

  bool quantifier() {
    for (const char* operation : {"*", "+", "?"}) {
      if (reader_.skip(operation)) {
        const char* suffix = reader_.skip("?") ? "?" : reader_.skip("+") ? "+" : "";
        repeat(std::string(operation) + suffix);
        return true;
      }
    }
    return interval();
  }

  /// {n}, {n,}, {,m} or {n,m}; any other '{' is a literal.
  bool interval() {
    const size_t begin = reader_.position();
    if (!reader_.skip("{")) {
      return false;
    }
    const auto least = reader_.number();
    const bool is_range = reader_.skip(",");
    const auto most = is_range ? reader_.number() : least;
    if (!reader_.skip("}") || (!least && !most)) {
      reader_.go_to(begin);
      return false;
    }
    if (least && most && *least > *most) {
      reader_.fail("the minimum of a repetition is above its maximum");
    }
    repeat("{" + std::to_string(least.value_or(0)) + (is_range ? "," + (most ? std::to_string(*most) : "") : "") + "}");
    if (reader_.looking_at("?") && is_range) {
      reader_.skip("?");
      result_.items.back().text += "?";
    }
    return true;  // a '+', or a '?' after {n}, repeats the repetition
  }

  void repeat(const std::string& quantifier) {
    if (atom_ == kNone) {
      reader_.fail("a repetition has nothing to repeat");
    }
    if (is_repeated_) {
      result_.items.insert(result_.items.begin() + static_cast<std::ptrdiff_t>(atom_), PatternItem{"(?:"});
      put(")");
    }
    put(quantifier);
    is_repeated_ = true;
  }

  void put(const std::string& text) { result_.items.push_back({text}); }

  void put_set(const CodePoints& set) {
    const auto found = std::find(result_.sets.begin(), result_.sets.end(), set);
    result_.items.push_back({"", static_cast<int>(found - result_.sets.begin())});
    if (found == result_.sets.end()) {
      result_.sets.push_back(set);
    }
  }

  void put_atom(const CodePoints& set) {
    atom_ = result_.items.size();
    is_repeated_ = false;
    put_set(set);
  }

  /// Operators, where "\n" and "w" represent the sets.
  void assertion(const std::vector<std::string>& parts) {
    for (const std::string& part : parts) {
      if (part == "\n") {
        put_set(newline());
      } else if (part == "w") {
        put_set(*named_property("Word"));
      } else {
        put(part);
      }
    }
    atom_ = kNone;
  }

  static CodePoints newline() { return CodePoints({{U'\n', U'\n'}}); }

  static constexpr size_t kNone = static_cast<size_t>(-1);

  PatternReader reader_;
  Pattern result_;
  std::vector<Group> groups_;
  bool ignore_case_ = false;
  size_t atom_ = kNone;       ///< the first item that a quantifier would repeat
  bool is_repeated_ = false;  ///< it already has a quantifier
};

}  // namespace

Pattern parse_pattern(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).translate();
}

}  // namespace lora::tokenizer
