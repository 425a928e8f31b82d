#pragma once
#include <string>
#include <utility>
#include <vector>

namespace lora::app {

/// A module's name and a number.
using ModuleValue = std::pair<std::string, double>;

/// A map of non-negative numbers by layer (rows) and module (columns), in ten steps from zero to the largest, with a legend. Cells are
/// terminal colours if `colour`, else characters of increasing density. Modules outside of layers are listed below it.
std::string heat_map(const std::vector<ModuleValue>& values, bool colour);

}  // namespace lora::app
