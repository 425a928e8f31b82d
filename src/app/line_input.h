#pragma once
#include <optional>
#include <string>

namespace lora::app {

/// Reads lines of standard input, from a terminal or a pipe. A signal ends the waiting.
class LineInput {
 public:
  /// The next line without its line end; nothing at the end of the input. Throws Interrupted.
  std::optional<std::string> next();

 private:
  bool fill();

  std::string buffer_;
  bool ended_ = false;
};

}  // namespace lora::app
