#include "app/heat_map.h"

#include <algorithm>
#include <array>
#include <map>

#include "app/text_table.h"
#include "lora/base/regex.h"

namespace lora::app {

namespace {

constexpr size_t kSteps = 10;
constexpr std::string_view kShades = " .:-=+*#%@";
/// Terminal colours (of the 256 colour palette) from dark to bright.
constexpr std::array<int, kSteps> kColours{16, 53, 54, 90, 126, 162, 197, 203, 215, 229};
constexpr size_t kNarrowest = 4;

/// Steps from zero to the largest value.
class Scale {
 public:
  Scale(double largest, bool colour) : largest_(largest), colour_(colour) {}

  /// Only zero gets the lowest step.
  size_t step(double value) const {
    if (!(value > 0)) {
      return 0;
    }
    const auto step = static_cast<size_t>(value / largest_ * static_cast<double>(kSteps - 1));
    return std::min(step, kSteps - 2) + 1;
  }
  std::string cell(size_t step, size_t width) const {
    return colour_ ? "\x1b[48;5;" + std::to_string(kColours.at(step)) + "m" + std::string(width, ' ') + "\x1b[0m"
                   : std::string(width, kShades.at(step));
  }
  std::string legend() const {
    std::string text = "legend: " + (colour_ ? cell(0, 2) : "blank") + " 0";
    for (size_t i = 1; i < kSteps; ++i) {
      text += "  " + cell(i, colour_ ? 2 : 1) + " to " + short_number(largest_ * static_cast<double>(i) / (kSteps - 1));
    }
    return text + "\n";
  }

 private:
  double largest_;
  bool colour_;
};

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

std::string padded(const std::string& text, size_t width, bool to_the_right) {
  const std::string filler(width - std::min(width, text.size()), ' ');
  return to_the_right ? filler + text : text + filler;
}

struct Grid {
  std::map<int64_t, std::map<std::string, double>> layers;
  std::vector<std::string> columns;  ///< what follows a layer's number, in order of appearance
  std::vector<ModuleValue> others;
  double largest = 0;
};

Grid grid_of(const std::vector<ModuleValue>& values) {
  const Regex layer_pattern(R"(.*?\.(?<layer>\d{1,9})\.(?<rest>.+)$)", "heat map", ErrorKind::kUnforeseen);
  Grid grid;
  for (const auto& [module, value] : values) {
    grid.largest = std::max(grid.largest, value);
    const std::string layer = layer_pattern.group_at_start(module, "layer");
    if (layer.empty()) {
      grid.others.emplace_back(module, value);
      continue;
    }
    const std::string column = layer_pattern.group_at_start(module, "rest");
    if (std::find(grid.columns.begin(), grid.columns.end(), column) == grid.columns.end()) {
      grid.columns.push_back(column);
    }
    grid.layers[std::stoll(layer)][column] = value;
  }
  return grid;
}

/// The last parts of the columns' names, if these are unique.
std::vector<std::string> titles_of(const std::vector<std::string>& columns) {
  std::vector<std::string> titles;
  for (const std::string& column : columns) {
    const auto same =
        std::count_if(columns.begin(), columns.end(), [&](const auto& other) { return last_part(other) == last_part(column); });
    titles.push_back(same == 1 ? last_part(column) : column);
    titles.back().resize(std::max(titles.back().size(), kNarrowest), ' ');
  }
  return titles;
}

}  // namespace

std::string heat_map(const std::vector<ModuleValue>& values, bool colour) {
  const Grid grid = grid_of(values);
  const Scale scale(grid.largest, colour);
  constexpr size_t kRowTitle = 5;
  std::string text;
  if (!grid.layers.empty()) {
    const std::vector<std::string> titles = titles_of(grid.columns);
    text = padded("layer", kRowTitle, true);
    for (const std::string& title : titles) {
      text += "  " + title;
    }
    text += "\n";
    for (const auto& [layer, cells] : grid.layers) {
      text += padded(std::to_string(layer), kRowTitle, true);
      for (size_t i = 0; i < grid.columns.size(); ++i) {
        const auto found = cells.find(grid.columns[i]);
        // A module without an update is shown as "-", not as zero.
        text +=
            "  " + (found == cells.end() ? padded("-", titles[i].size(), false) : scale.cell(scale.step(found->second), titles[i].size()));
      }
      text += "\n";
    }
  }
  for (const auto& [module, value] : grid.others) {
    text += scale.cell(scale.step(value), kNarrowest) + "  " + module + "\n";
  }
  return text + scale.legend();
}

}  // namespace lora::app
