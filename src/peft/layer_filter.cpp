#include "peft/layer_filter.h"

#include <algorithm>

namespace lora::peft {

LayerFilter::LayerFilter(const TargetOptions& options) : layers_(options.layers_to_transform) {
  if (!layers_ || layers_->empty()) {
    layers_.reset();
    return;
  }
  if (options.layers_pattern.empty()) {
    patterns_.emplace_back(R"(.*?\.[^.]*\.(?<idx>\d+)\.)", "adapter.layers_pattern", ErrorKind::kConfig);
  }
  for (const std::string& pattern : options.layers_pattern) {
    patterns_.emplace_back("(?:^|.*?\\.)" + pattern + "\\.(?<idx>\\d+)\\.", "adapter.layers_pattern", ErrorKind::kConfig);
  }
}

bool LayerFilter::accepts(const std::string& module) const {
  if (!layers_) {
    return true;
  }
  for (const Regex& pattern : patterns_) {
    const std::string index = pattern.group_at_start(module, "idx");
    if (!index.empty()) {
      return index.size() < 10 && std::find(layers_->begin(), layers_->end(), std::stoll(index)) != layers_->end();
    }
  }
  return false;
}

}  // namespace lora::peft
