#include "app/text_table.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "lora/base/terminal.h"

namespace lora::app {

std::string TextTable::text() const {
  std::vector<std::vector<std::string>> rows = rows_;
  std::vector<size_t> widths;
  for (std::vector<std::string>& row : rows) {
    std::transform(row.begin(), row.end(), row.begin(), [](const std::string& cell) { return terminal::visible_line(cell); });
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string filler(widths[i] - row[i].size(), ' ');
      line += i == 0 ? row[i] + filler : "  " + filler + row[i];
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string short_number(double value, int digits) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*g", digits, value);
  return text.data();
}

}  // namespace lora::app
