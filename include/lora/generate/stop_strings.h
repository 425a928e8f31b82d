#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lora::generate {

/// Lets a text through, piece by piece, up to the first of some strings; what may turn out to be the beginning of one is
/// held back until that is known.
class StopStrings {
 public:
  /// None may be empty.
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// What of the text so far is certain to be let through. Nothing after a stop string.
  std::string push(std::string_view piece);
  bool stopped() const { return stopped_; }
  /// What is held back, at the end.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace lora::generate
