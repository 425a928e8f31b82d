#include "lora/base/log.h"

#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "lora/base/option_names.h"
#include "lora/base/terminal.h"

namespace lora::log {

namespace {

/// Formats like spdlog, and writes through the only function that writes to standard error.
class ErrorStreamSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::string text(line.data(), line.size());
    if (is_terminal() && message.color_range_end > message.color_range_start) {
      text.insert(message.color_range_end, "\x1b[m");
      text.insert(message.color_range_start, message.level >= spdlog::level::err ? "\x1b[31m\x1b[1m" : "\x1b[33m\x1b[1m");
    }
    terminal::write_error_stream(text);
  }
  void flush_() override {}
};

std::shared_ptr<spdlog::logger> make_logger(const std::string& pattern) {
  auto sink = std::make_shared<ErrorStreamSink>();
  sink->set_pattern(pattern);
  return std::make_shared<spdlog::logger>("lora", std::move(sink));
}

/// The state of stderr: the loggers and the progress line, protected by one mutex.
struct Console {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> plain = make_logger("%v");
  std::shared_ptr<spdlog::logger> prefixed = make_logger("%^%l:%$ %v");
  bool quiet = false;
  std::string progress_line;

  /// Writes the message above the progress line, which is drawn again below it.
  void log(spdlog::logger& logger, spdlog::level::level_enum level, const std::string& message) {
    const std::lock_guard lock(mutex);
    if (!progress_line.empty()) {
      terminal::write_error_stream("\r\x1b[K");
    }
    logger.log(level, spdlog::string_view_t(message.data(), message.size()));
    if (!progress_line.empty()) {
      terminal::write_error_stream(progress_line);
    }
  }
};

Console& console() {
  static Console instance;
  return instance;
}

/// `line` truncated to the terminal's width, because a wrapped line could not be rewritten.
std::string fitted(const std::string& line) {
  winsize window = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) {
    return line;
  }
  size_t columns = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool starts_code_point = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    if (starts_code_point && ++columns >= window.ws_col) {
      return line.substr(0, i);
    }
  }
  return line;
}

}  // namespace

void info(const std::string& message) {
  if (!console().quiet) {
    console().log(*console().plain, spdlog::level::info, terminal::visible(message));
  }
}

void warn(const std::string& message) {
  console().log(*console().prefixed, spdlog::level::warn, terminal::visible_line(with_option_names(message)));
}

void error(const std::string& message) {
  console().log(*console().prefixed, spdlog::level::err, terminal::visible(with_option_names(message)));
}

void set_quiet(bool quiet) {
  console().quiet = quiet;
}

bool is_terminal() {
  static const bool result = [] {
    const char* no_color = std::getenv("NO_COLOR");
    return isatty(STDERR_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
  }();
  return result;
}

void progress(const std::string& line) {
  if (!is_terminal() || console().quiet) {
    return;
  }
  const std::lock_guard lock(console().mutex);
  console().progress_line = fitted(terminal::visible_line(line));
  terminal::write_error_stream("\r\x1b[K" + console().progress_line);
}

void end_progress() {
  const std::lock_guard lock(console().mutex);
  if (!console().progress_line.empty()) {
    console().progress_line.clear();
    terminal::write_error_stream("\n");
  }
}

}  // namespace lora::log
