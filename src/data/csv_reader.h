#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/line_reader.h"

namespace lora::data {

/// One record: its fields and the place where it begins.
struct CsvRecord {
  std::vector<std::string> fields;
  std::string origin;  ///< "file:line" of its first line
  int64_t line = 0;
};

/// Comma-separated values, strictly by RFC 4180: quotes enclose a whole field; inside such a field a quote is doubled.
/// Quoted fields may contain newlines. Blank lines between records are skipped.
class CsvReader {
 public:
  explicit CsvReader(LineReader& lines) : lines_(lines) {}

  /// The next record; nothing at the end. Throws data Error "[file:line:column] …".
  std::optional<CsvRecord> next();

 private:
  enum class State { kFieldStart, kBare, kQuoted, kQuoteEnded };

  void read_line(std::string_view line);
  void read_char(char c, size_t column);
  void end_field();

  LineReader& lines_;
  CsvRecord record_;
  std::string field_;
  State state_ = State::kFieldStart;
  std::string opened_;  ///< position of the open quote
};

}  // namespace lora::data
