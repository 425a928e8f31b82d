#include "config/regex_check.h"

#include "lora/base/regex.h"

namespace lora::config {

void check_regex(const std::string& pattern, const ConfigPlace& at) {
  try {
    Regex(pattern, at.path, ErrorKind::kConfig);
  } catch (const Error& error) {
    const std::string prefix = "[" + at.path + "] ";
    const std::string message = error.what();
    at.add(message.starts_with(prefix) ? message.substr(prefix.size()) : message);
  }
}

}  // namespace lora::config
