#pragma once
#include <string>

namespace lora::log {

/// All messages for people go to stderr through these functions; only app/ and tools/ write results to stdout. Warnings and errors name
/// options as the program does (option_names.h).
void info(const std::string& message);
void warn(const std::string& message);
void error(const std::string& message);

/// `--quiet`: warnings and errors only.
void set_quiet(bool quiet);

/// Whether stderr is a terminal (for the progress bar and colours) and NO_COLOR is not set.
bool is_terminal();

/// Rewrites the last line of the terminal (progress). Does nothing if stderr is not a terminal or output is quiet.
void progress(const std::string& line);
/// Ends the progress line, if there is one.
void end_progress();

}  // namespace lora::log
