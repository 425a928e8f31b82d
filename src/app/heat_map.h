#pragma once
#include <string>
#include <utility>
#include <vector>

namespace lora::app {

/// One number of a module.
using ModuleValue = std::pair<std::string, double>;

/// A map of numbers of at least 0 by layer (rows) and module (columns), from zero to the largest in ten steps, with a
/// legend: coloured cells of a terminal where `colour`, else shades of characters. Modules outside of layers stand
/// below it.
std::string heat_map(const std::vector<ModuleValue>& values, bool colour);

}  // namespace lora::app
