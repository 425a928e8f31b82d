#pragma once
#include <string>

namespace lora::log {

/// Everything for people goes to stderr through here; results go to stdout by app/ and tools/ alone. Warnings and errors name options as
/// the program does (option_names.h).
void info(const std::string& message);
void warn(const std::string& message);
void error(const std::string& message);

/// `--quiet`: warnings and errors only.
void set_quiet(bool quiet);

/// Whether stderr is a terminal (progress bar, colours) and NO_COLOR is not set.
bool is_terminal();

/// Rewrites the terminal's last line (progress). Nothing where stderr is no terminal or when quiet.
void progress(const std::string& line);
/// Ends the progress line, if one stands.
void end_progress();

}  // namespace lora::log
