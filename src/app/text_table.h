#pragma once
#include <string>
#include <vector>

namespace lora::app {

/// Rows of cells in aligned columns: the first one to the left, the others, numbers, to the right. ASCII.
class TextTable {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Every row as a line. Rows may be shorter than others.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// So many significant digits, without needless zeros.
std::string short_number(double value, int digits = 5);

}  // namespace lora::app
