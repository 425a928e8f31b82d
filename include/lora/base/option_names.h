#pragma once
#include <string>
#include <utility>
#include <vector>

namespace lora {

/// Pairs of the name of an option in messages and its name in this program.
using OptionNames = std::vector<std::pair<std::string, std::string>>;

/// For a program with flags instead of a config file: from now on the messages of log::warn and log::error name flags instead of
/// keys. Must be called once, before any thread is started.
void use_option_names(OptionNames names);

/// The message with every key that occurs as a whole word replaced by the name in this program.
std::string with_option_names(const std::string& message);

}  // namespace lora
