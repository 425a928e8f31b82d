#include "app/line_input.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"

namespace lora::app {

std::optional<std::string> LineInput::next() {
  size_t end = buffer_.find('\n');
  while (end == std::string::npos && fill()) {
    end = buffer_.find('\n');
  }
  if (buffer_.empty()) {
    return std::nullopt;
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end == std::string::npos ? end : end + 1);
  if (line.ends_with('\r')) {
    line.pop_back();
  }
  return line;
}

/// Reads more bytes of the input. Returns false at its end.
bool LineInput::fill() {
  // A signal restarts read() and may arrive just before poll(): poll in short intervals so that it is noticed.
  pollfd input{STDIN_FILENO, POLLIN, 0};
  while (!ended_ && poll(&input, 1, /*milliseconds=*/100) <= 0) {
    throw_if_interrupted();
  }
  std::array<char, 4096> bytes;
  const ssize_t count = ended_ ? 0 : read(STDIN_FILENO, bytes.data(), bytes.size());
  if (count < 0) {
    data_error("standard input", std::string("cannot be read: ") + std::strerror(errno));
  }
  ended_ = count == 0;
  buffer_.append(bytes.data(), static_cast<size_t>(count));
  return count > 0;
}

}  // namespace lora::app
