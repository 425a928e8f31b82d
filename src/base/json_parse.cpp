// Text to Json: strict, with bounded depth, in linear time. nlohmann's SAX parser implements the grammar.
#include <algorithm>
#include <cctype>
#include <iterator>
#include <unordered_set>

#include "base/json_numbers.h"
#include "lora/base/input_file.h"
#include "lora/base/python_json.h"
#include "lora/base/text.h"

namespace lora {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// An iterator over the text that records how far the parser has read, because the handler's events carry no position.
class TrackedIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  TrackedIterator operator++(int) {
    const TrackedIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

/// The origin of a text, for messages.
struct Origin {
  std::string_view text;
  const std::string& where;
  ErrorKind kind;
  int64_t first_line;

  /// Lines are counted from `first_line`, columns (in bytes) from 1.
  [[noreturn]] void fail(size_t offset, const std::string& message) const {
    const std::string_view before = text.substr(0, std::min(offset, text.size()));
    const int64_t line = first_line + std::count(before.begin(), before.end(), '\n');
    const size_t line_start = before.rfind('\n');
    const size_t column = line_start == std::string_view::npos ? before.size() + 1 : before.size() - line_start;
    throw Error(kind, where + ":" + std::to_string(line) + ":" + std::to_string(column), message);
  }
};

enum class Dialect { kStrict, kPython };

/// Builds the value. nlohmann's own builder searches a list for every key, which is quadratic, and has no limits.
class Builder : public Json::json_sax_t {
 public:
  /// `begin`: the beginning of the parsed text, whose offsets are those of the origin's text.
  Builder(const Origin& origin, Dialect dialect, std::vector<NonFinite> non_finite, const char* begin, const char* const& reached)
      : origin_(origin), dialect_(dialect), non_finite_(std::move(non_finite)), begin_(begin), reached_(reached) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& digits) override;
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override;
  bool parse_error(size_t position, const std::string& last_token, const Json::exception& error) override;

 private:
  static constexpr size_t kScannedKeys = 16;  // up to here a scan is faster than a hash set

  struct Frame {
    Json* container;
    std::unordered_set<std::string> keys;  ///< filled once there are more than kScannedKeys
  };

  Json* add(Json value) {
    if (frames_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& container = *frames_.back().container;
    if (container.is_array()) {
      auto& items = container.get_ref<Json::array_t&>();
      return &items.emplace_back(std::move(value));
    }
    Json& slot = container.get_ref<Json::object_t&>().back().second;
    slot = std::move(value);
    return &slot;
  }
  bool open(Json container) {
    if (frames_.size() >= kMaxJsonDepth) {
      origin_.fail(offset() - 1, "JSON is nested too deep: expected at most " + std::to_string(kMaxJsonDepth) + " levels");
    }
    frames_.push_back({add(std::move(container)), {}});
    return true;
  }
  bool close() {
    frames_.pop_back();
    return true;
  }
  size_t offset() const { return static_cast<size_t>(reached_ - begin_); }
  bool is_duplicate(Frame& frame, const Json::object_t& object, const std::string& name) const;

  const Origin& origin_;
  Dialect dialect_;
  std::vector<NonFinite> non_finite_;
  size_t num_non_finite_ = 0;  ///< those that have been read
  const char* begin_;
  const char* const& reached_;
  Json root_;
  std::vector<Frame> frames_;
};

bool Builder::number_float(number_float_t value, const string_t& digits) {
  if (dialect_ == Dialect::kStrict) {
    return add(value) != nullptr;
  }
  // The parser has read one character beyond the number, except at the end of the text.
  const size_t begin = offset() - digits.size();
  if (num_non_finite_ < non_finite_.size() && begin - non_finite_[num_non_finite_].begin <= 1) {
    return add(non_finite_[num_non_finite_++].value) != nullptr;
  }
  if (digits.find_first_of(".eE") != std::string::npos) {
    return add(value) != nullptr;
  }
  return add(make_large_integer(digits)) != nullptr;
}

bool Builder::is_duplicate(Frame& frame, const Json::object_t& object, const std::string& name) const {
  if (object.size() < kScannedKeys) {
    return std::any_of(object.begin(), object.end(), [&](const auto& entry) { return entry.first == name; });
  }
  if (frame.keys.empty()) {
    for (const auto& entry : object) {
      frame.keys.insert(entry.first);
    }
  }
  return !frame.keys.insert(name).second;
}

/// The offset of the quote that opens the string which ends just before `end`.
size_t start_of_string(std::string_view text, size_t end) {
  for (size_t at = end - 1; at > 0;) {
    --at;
    size_t backslashes = 0;
    while (backslashes < at && text[at - 1 - backslashes] == '\\') {
      ++backslashes;
    }
    if (text[at] == '"' && backslashes % 2 == 0) {
      return at;
    }
  }
  return 0;
}

/// Reserves space for one more entry. When the vector grows by itself, it copies the values deeply, because its entries' keys are const.
void make_room(Json::object_t& object) {
  if (object.size() < object.capacity()) {
    return;
  }
  Json::object_t larger;
  larger.reserve(std::max<size_t>(8, 2 * object.size()));
  for (auto& [key, value] : object) {
    larger.emplace_back(key, std::move(value));
  }
  object = std::move(larger);
}

bool Builder::key(string_t& name) {
  Frame& frame = frames_.back();
  auto& object = frame.container->get_ref<Json::object_t&>();
  if (is_duplicate(frame, object, name)) {
    origin_.fail(start_of_string(origin_.text, offset()), "the key '" + printable(name) + "' occurs twice: expected each key once");
  }
  make_room(object);
  // emplace_back is that of std::vector: ordered_map's own functions search for the key first.
  object.emplace_back(std::move(name), Json());
  return true;
}

/// The offset where the token that ends just before `end` starts.
size_t start_of_token(std::string_view text, size_t end) {
  const auto in_word = [](unsigned char c) { return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.'; };
  if (end == 0 || text[end - 1] == '"') {
    return end == 0 ? 0 : start_of_string(text, end);
  }
  size_t start = end - 1;
  while (start > 0 && in_word(text[end - 1]) && in_word(text[start - 1])) {
    --start;
  }
  return start;
}

/// nlohmann's "[json.exception…] parse error at line 1, column 2: syntax error while parsing value - unexpected ','; last
/// read: …; expected …" as "unexpected ','; expected …". What it read last is not the token that it reports.
std::string detail_of(const Json::exception& error, const std::string& last_token) {
  std::string text = error.what();
  const std::string last_read = "; last read: '" + last_token + "'";
  if (const size_t at = text.find(last_read); at != std::string::npos) {
    text.erase(at, last_read.size());
  }
  for (const std::string_view introduction : {" - ", "] "}) {
    if (const size_t at = text.find(introduction); at != std::string::npos) {
      return text.substr(at + introduction.size());
    }
  }
  return text;
}

/// What people write instead of JSON, guessed from the text at the fault; "" if nothing is recognized.
std::string likely_cause(std::string_view text, size_t at) {
  const std::string_view rest = text.substr(std::min(at, text.size()));
  if (rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with("#")) {
    return ". Likely cause: a comment, which JSON does not allow.";
  }
  const bool is_first = text.substr(0, at).find_first_not_of(" \t\r\n") == std::string_view::npos;
  const bool is_word = !rest.empty() && (std::isalpha(static_cast<unsigned char>(rest.front())) != 0 || rest.front() == '-');
  return is_first && is_word ? ". Likely cause: YAML or plain text instead of JSON." : "";
}

bool Builder::parse_error(size_t position, const std::string& last_token, const Json::exception& error) {
  const std::string_view text = origin_.text;
  const std::string detail = detail_of(error, last_token);
  const bool is_misplaced = detail.starts_with("unexpected");
  if (position > text.size() || detail.starts_with("unexpected end of input")) {
    origin_.fail(text.size(), "is not valid JSON: the text ends too early. Likely cause: it was truncated.");
  }
  std::string message = "is not valid JSON: " + printable(detail, 200);
  const size_t start = start_of_token(text, position);
  const std::string_view token = text.substr(start, position - start);
  if (is_misplaced && message.find(token) == std::string::npos) {
    message += ", found " + printable(token, 40);
  }
  const size_t previous = text.substr(0, start).find_last_not_of(" \t\r\n");
  if ((token == "}" || token == "]") && previous != std::string_view::npos && text[previous] == ',') {
    message += ". Likely cause: a comma after the last item.";
  }
  message += likely_cause(text, start);
  // A misplaced token is reported at its start, an invalid string at the invalid character.
  origin_.fail(is_misplaced || !detail.starts_with("invalid string") ? start : position - 1, message);
}

Json parse(std::string_view text, const std::string& where, ErrorKind kind, int64_t first_line, Dialect dialect) {
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  const Origin origin{text, where, kind, first_line};
  if (text.starts_with(kByteOrderMark)) {
    origin.fail(0, "is not valid JSON: two byte-order marks");
  }
  // The lexer treats a NUL byte as the end of the text, and would ignore what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    origin.fail(nul, "is not valid JSON: found a NUL byte. Likely cause: the file is binary, or UTF-16 instead of UTF-8.");
  }
  std::string finite;
  std::vector<NonFinite> non_finite;
  if (dialect == Dialect::kPython && may_hold_non_finite(text)) {
    finite = text;
    non_finite = make_finite(finite);
    text = finite;
  }
  const char* reached = text.data();
  Builder builder(origin, dialect, std::move(non_finite), text.data(), reached);
  const char* end = text.data() + text.size();
  const char* unused = nullptr;
  Json::sax_parse(TrackedIterator(text.data(), &reached), TrackedIterator(end, &unused), &builder);
  return builder.take();
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, ErrorKind kind, int64_t first_line) {
  return parse(text, where, kind, first_line, Dialect::kStrict);
}

Json parse_python_json(std::string_view text, const std::string& where, ErrorKind kind, int64_t first_line) {
  return parse(text, where, kind, first_line, Dialect::kPython);
}

Json read_json(const std::filesystem::path& file, ErrorKind kind) {
  return read_json(file, kind, kSettings);
}

}  // namespace lora
