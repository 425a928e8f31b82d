#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/regex.h"
#include "lora/peft/options.h"

namespace lora::peft {

/// PEFT's layers_to_transform with layers_pattern: whether a module is in one of the layers, by the first number after the pattern.
class LayerFilter {
 public:
  explicit LayerFilter(const TargetOptions& options);

  /// True for every module if the options name no layers.
  bool accepts(const std::string& module) const;

 private:
  std::optional<std::vector<int64_t>> layers_;
  std::vector<Regex> patterns_;
};

}  // namespace lora::peft
