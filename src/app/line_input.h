#pragma once
#include <optional>
#include <string>

namespace lora::app {

/// Lines of standard input, from a terminal or a pipe, waiting for which a signal ends.
class LineInput {
 public:
  /// The next line without its end; nothing at the end of the input. Throws Interrupted.
  std::optional<std::string> next();

 private:
  bool fill();

  std::string buffer_;
  bool ended_ = false;
};

}  // namespace lora::app
