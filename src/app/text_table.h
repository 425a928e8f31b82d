#pragma once
#include <string>
#include <vector>

namespace lora::app {

/// A table with aligned columns in ASCII: the first column to the left, the others, which are numbers, to the right.
class TextTable {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// One line per row. Rows may have different lengths.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// The number with at most `digits` significant digits, without trailing zeros.
std::string short_number(double value, int digits = 5);

}  // namespace lora::app
