#pragma once
#include <string>
#include <string_view>

#include "lora/base/json.h"

namespace lora::terminal {

/// Where standard input, output or error is closed, /dev/null takes its place: the next file that is opened would get its number, and
/// with it the messages meant for the terminal. To be called before anything else.
void open_standard_streams();

/// `text` with every character that controls a terminal shown as an escape (\u001b): files are written by strangers. Line ends and tabs
/// stay. Bytes that are not UTF-8 are shown as \x9b.
std::string visible(std::string_view text);
/// Likewise, with line ends as escapes too.
std::string visible_line(std::string_view text);
/// Likewise for every text in `value`, names of members too.
Json visible_json(const Json& value);

/// Whether people read standard output, with colours.
bool shows_colours();

/// Standard output is written by these alone. When nobody reads it any more, the process is asked to stop as by SIGPIPE; any other failure
/// throws output Error. All are written out at once.
///
/// Text for people: the characters above are shown as escapes, colours stay where they are shown.
void print(std::string_view text);
/// JSON in lines for people and programs. What controls a terminal is written as JSON's escapes.
void print_json(const Json& value);
/// Text that a model made: as print() on a terminal, as it is elsewhere.
void print_generated(std::string_view text);
/// A result for programs, as it is.
void print_rows(std::string_view rows);

/// Writes to standard error. After a failure the process is asked to stop as by SIGPIPE.
void write_error_stream(std::string_view text);

}  // namespace lora::terminal
