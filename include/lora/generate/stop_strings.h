#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lora::generate {

/// Passes a text on, piece by piece, up to the first stop string. Text that may be the beginning of a stop string is held back until
/// that is known.
class StopStrings {
 public:
  /// No stop string may be empty.
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Adds a piece and returns the text that is now certain to be passed on; empty after a stop string.
  std::string push(std::string_view piece) { return push(piece, /*is_shown=*/true); }
  /// The same for the text of a control token, which a stop string may contain but which is never passed on.
  std::string push_hidden(std::string_view piece) { return push(piece, /*is_shown=*/false); }
  bool stopped() const { return stopped_; }
  /// Returns the text that is still held back, at the end.
  std::string finish();

 private:
  std::string push(std::string_view piece, bool is_shown);
  std::string release(size_t end);

  std::vector<std::string> stops_;
  std::string held_;
  std::vector<bool> is_shown_;  ///< for each byte of the held text
  bool stopped_ = false;
};

}  // namespace lora::generate
