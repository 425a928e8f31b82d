#include "lora/generate/stop_strings.h"

#include <algorithm>

namespace lora::generate {

std::string StopStrings::push(std::string_view piece, bool is_shown) {
  if (stopped_) {
    return "";
  }
  held_ += piece;
  is_shown_.resize(held_.size(), is_shown);
  size_t first_stop = std::string::npos;
  size_t first_possible = held_.size();  // the first position where a stop string may have begun
  for (const std::string& stop : stops_) {
    first_stop = std::min(first_stop, held_.find(stop));
    size_t length = std::min(stop.size() - 1, held_.size());
    while (length > 0 && !held_.ends_with(std::string_view(stop).substr(0, length))) {
      --length;
    }
    first_possible = std::min(first_possible, held_.size() - length);
  }
  stopped_ = first_stop != std::string::npos;
  std::string text = release(stopped_ ? first_stop : first_possible);
  if (stopped_) {
    held_.clear();
    is_shown_.clear();
  }
  return text;
}

std::string StopStrings::finish() {
  return release(held_.size());
}

/// Removes the first `end` bytes of the held text and returns those of them that are shown.
std::string StopStrings::release(size_t end) {
  std::string text;
  for (size_t i = 0; i < end; ++i) {
    if (is_shown_[i]) {
      text += held_[i];
    }
  }
  held_.erase(0, end);
  is_shown_.erase(is_shown_.begin(), is_shown_.begin() + static_cast<std::ptrdiff_t>(end));
  return text;
}

}  // namespace lora::generate
