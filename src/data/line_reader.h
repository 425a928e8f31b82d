#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"

namespace lora::data {

/// Lines of a text. Each is checked to be UTF-8 without NUL bytes, so that errors name the position. A byte-order mark at the
/// start is skipped; the last line may lack its newline. Lines longer than 1 GiB are an error.
class LineReader {
 public:
  /// `name` is the file's name in messages.
  LineReader(ByteSource source, std::string name);

  /// The next line without its '\n' (but with a '\r' before it); nothing at the end. The view is valid until the next call.
  std::optional<std::string_view> next();

  const std::string& name() const { return name_; }
  int64_t number() const { return number_; }  ///< of the last line read, counted from 1
  std::string origin() const;                 ///< "file:line" of the last line read
  std::string place(size_t offset) const;     ///< "file:line:column" of a byte in it; columns are bytes, counted from 1

 private:
  bool fill();
  void check() const;

  ByteSource source_;
  std::string name_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::string line_;
  int64_t number_ = 0;
};

/// Whether a line consists only of spaces, tabs and carriage returns.
bool is_blank(std::string_view line);

/// A line without the '\r' of a Windows line ending.
std::string_view without_cr(std::string_view line);

}  // namespace lora::data
