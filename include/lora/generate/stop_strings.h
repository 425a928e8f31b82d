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
  std::string push(std::string_view piece) { return push(piece, /*is_shown=*/true); }
  /// The same with the text of a control token, which a stop string may hold but which is let through by nothing.
  std::string push_hidden(std::string_view piece) { return push(piece, /*is_shown=*/false); }
  bool stopped() const { return stopped_; }
  /// What is held back, at the end.
  std::string finish();

 private:
  std::string push(std::string_view piece, bool is_shown);
  std::string release(size_t end);

  std::vector<std::string> stops_;
  std::string held_;
  std::vector<bool> is_shown_;  ///< of each byte of it
  bool stopped_ = false;
};

}  // namespace lora::generate
