#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"

namespace lora::data {

/// Lines of a text, each checked to be UTF-8 without NUL, so that an error names its place. A byte-order mark at the
/// start is skipped; the last line may lack its newline. Lines of up to 1 GiB are read; more is an error.
class LineReader {
 public:
  /// `name` is the file in messages.
  LineReader(ByteSource source, std::string name);

  /// The next line without its '\n' (a '\r' before it stays), nothing at the end. The view is valid until the next call.
  std::optional<std::string_view> next();

  const std::string& name() const { return name_; }
  int64_t number() const { return number_; }  ///< of the line last read, from 1
  std::string origin() const;                 ///< "file:line" of the line last read
  std::string place(size_t offset) const;     ///< "file:line:column" of a byte in it; columns are bytes, from 1

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

/// Whether a line holds only spaces, tabs and a carriage return.
bool is_blank(std::string_view line);

/// A line without the '\r' of a Windows line end.
std::string_view without_cr(std::string_view line);

}  // namespace lora::data
