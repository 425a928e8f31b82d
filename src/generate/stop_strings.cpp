#include "lora/generate/stop_strings.h"

#include <algorithm>

namespace lora::generate {

std::string StopStrings::push(std::string_view piece) {
  if (stopped_) {
    return "";
  }
  held_ += piece;
  size_t first_stop = std::string::npos;
  size_t first_possible = held_.size();  // from where on a stop string may have begun
  for (const std::string& stop : stops_) {
    first_stop = std::min(first_stop, held_.find(stop));
    size_t length = std::min(stop.size() - 1, held_.size());
    while (length > 0 && !held_.ends_with(std::string_view(stop).substr(0, length))) {
      --length;
    }
    first_possible = std::min(first_possible, held_.size() - length);
  }
  stopped_ = first_stop != std::string::npos;
  const size_t end = stopped_ ? first_stop : first_possible;
  std::string text = held_.substr(0, end);
  held_.erase(0, stopped_ ? std::string::npos : end);
  return text;
}

std::string StopStrings::finish() {
  std::string rest;
  rest.swap(held_);
  return rest;
}

}  // namespace lora::generate
