#include "lora/base/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/utf8.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"

namespace lora::terminal {

namespace {

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(written > 0 ? static_cast<size_t>(written) : 0);
  }
  return true;
}

void write_output(std::string_view text) {
  if (write_all(STDOUT_FILENO, text)) {
    return;
  }
  if (errno == EPIPE) {
    request_stop(SIGPIPE);
    return;
  }
  output_error("standard output", std::string("cannot be written: ") + std::strerror(errno));
}

std::string escape(unsigned code_point) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "\\u%04x", code_point);
  return text.data();
}

/// Control characters of ASCII and Latin-1, and those that change the writing direction, which can make a line look like another one.
bool controls_terminal(unsigned code_point) {
  const bool is_control = code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
  const bool is_direction = (code_point >= 0x202a && code_point <= 0x202e) || (code_point >= 0x2066 && code_point <= 0x2069);
  return is_control || is_direction || code_point == 0x2028 || code_point == 0x2029;
}

/// The length of a colour sequence (ESC [ digits and semicolons m) that begins at `at`, or 0.
size_t colour_length(std::string_view text, size_t at) {
  if (text.substr(at, 2) != "\x1b[") {
    return 0;
  }
  const size_t end = text.find_first_not_of("0123456789;", at + 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 - at : 0;
}

struct Kept {
  bool lines = false;    ///< line ends and tabs
  bool colours = false;  ///< colour sequences
  bool bytes = false;    ///< bytes that are not UTF-8
};

std::string with_escapes(std::string_view text, Kept kept) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    if (const size_t colour = kept.colours ? colour_length(text, at) : 0; colour > 0) {
      result += text.substr(at, colour);
      at += colour;
      continue;
    }
    const size_t length = code_point_length(text, at);
    const unsigned code_point = length == 0 ? static_cast<unsigned char>(text[at]) : code_point_at(text, at, length);
    const bool is_kept_line = kept.lines && (code_point == '\n' || code_point == '\t');
    if (length == 0 && !kept.bytes) {
      std::array<char, 8> byte{};
      std::snprintf(byte.data(), byte.size(), "\\x%02x", code_point);
      result += byte.data();
    } else if (length > 0 && controls_terminal(code_point) && !is_kept_line) {
      result += code_point == '\n' ? "\\n" : code_point == '\t' ? "\\t" : code_point == '\r' ? "\\r" : escape(code_point);
    } else {
      result += text.substr(at, length == 0 ? 1 : length);
    }
    at += length == 0 ? 1 : length;
  }
  return result;
}

}  // namespace

void open_standard_streams() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    if (fcntl(number, F_GETFD) < 0 && errno == EBADF) {
      // open() returns the lowest free number, which is this one. Without /dev, a folder takes it, which cannot be written to.
      [[maybe_unused]] const int opened = open("/dev/null", O_RDWR) >= 0 ? number : open("/", O_RDONLY | O_DIRECTORY);
    }
  }
}

std::string visible(std::string_view text) {
  return with_escapes(text, {.lines = true});
}

std::string visible_line(std::string_view text) {
  return with_escapes(text, {});
}

Json visible_json(const Json& value) {
  if (value.is_string()) {
    return visible_line(value.get_ref<const std::string&>());
  }
  if (value.is_array()) {
    Json items = Json::array();
    for (const Json& item : value) {
      items.push_back(visible_json(item));
    }
    return items;
  }
  if (value.is_object()) {
    Json members = Json::object();
    for (const auto& [name, member] : value.items()) {
      members[visible_line(name)] = visible_json(member);
    }
    return members;
  }
  return value;
}

bool shows_colours() {
  return log::is_terminal() && isatty(STDOUT_FILENO) == 1;
}

void print(std::string_view text) {
  write_output(with_escapes(text, {.lines = true, .colours = shows_colours()}));
}

void print_json(const Json& value) {
  write_output(with_escapes(value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", {.lines = true}));
}

void print_generated(std::string_view text) {
  // A character may arrive in two pieces.
  isatty(STDOUT_FILENO) == 1 ? write_output(with_escapes(text, {.lines = true, .bytes = true})) : write_output(text);
}

void print_rows(std::string_view rows) {
  write_output(rows);
}

void write_error_stream(std::string_view text) {
  if (!write_all(STDERR_FILENO, text)) {
    request_stop(SIGPIPE);
  }
}

}  // namespace lora::terminal
