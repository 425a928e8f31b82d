#pragma once
#include <string>
#include <utility>
#include <vector>

namespace lora {

/// What messages call an option, and what this program calls it.
using OptionNames = std::vector<std::pair<std::string, std::string>>;

/// A program without a config file has flags where a run has keys: from now on the messages of log::warn and log::error name
/// the flags. Called once, before any thread is started.
void use_option_names(OptionNames names);

/// The message with those names in place of the keys, where they stand as whole words.
std::string with_option_names(const std::string& message);

}  // namespace lora
