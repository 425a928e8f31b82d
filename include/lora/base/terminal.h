#pragma once
#include <string>
#include <string_view>

#include "lora/base/json.h"

namespace lora::terminal {

/// Opens /dev/null for each of standard input, output and error that is closed. Otherwise the next file to be opened would get its number,
/// and the messages for the terminal would be written to that file. Must be called before anything else.
void open_standard_streams();

/// `text` with every character that controls a terminal shown as an escape (\u001b), because files may come from untrusted sources. Line
/// ends and tabs are unchanged. Bytes that are not UTF-8 are shown as \x9b.
std::string visible(std::string_view text);
/// The same, and line ends and tabs are shown as escapes, too.
std::string visible_line(std::string_view text);
/// The same for every string in `value`, including the keys of objects.
Json visible_json(const Json& value);

/// Whether standard output is a terminal that shows colours.
bool shows_colours();

/// Only the functions below write to standard output, without buffering. If its reader has exited, the process is asked to stop as by
/// SIGPIPE; any other failure throws output Error.
///
/// Text for people: control characters are shown as escapes; colours are kept if the terminal shows them.
void print(std::string_view text);
/// Indented JSON for people and programs. Control characters are written as JSON escapes.
void print_json(const Json& value);
/// Text that a model generated: like print() on a terminal, unchanged elsewhere.
void print_generated(std::string_view text);
/// A result for programs, unchanged.
void print_rows(std::string_view rows);

/// Writes to standard error. If that fails, the process is asked to stop as by SIGPIPE.
void write_error_stream(std::string_view text);

}  // namespace lora::terminal
