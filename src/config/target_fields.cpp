#include "config/target_fields.h"

#include "config/rule.h"
#include "lora/base/regex.h"

namespace lora::config {

namespace {

bool is_all_linear(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  return name == "all-linear";
}

}  // namespace

void check_regex(const std::string& pattern, const ConfigPlace& at) {
  try {
    Regex(pattern, at.path, ErrorKind::kConfig);
  } catch (const Error& error) {
    const std::string prefix = "[" + at.path + "] ";
    const std::string message = error.what();
    at.add(message.starts_with(prefix) ? message.substr(prefix.size()) : message);
  }
}

ModuleChoice choice_of(const Json& value, bool with_all_linear) {
  ModuleChoice choice;
  if (value.is_array()) {
    choice.kind = ModuleChoice::Kind::kList;
    choice.names = value.get<std::vector<std::string>>();
  } else if (value.is_string() && with_all_linear && is_all_linear(value.get<std::string>())) {
    choice.kind = ModuleChoice::Kind::kAllLinear;
  } else if (value.is_string()) {
    choice.kind = ModuleChoice::Kind::kRegex;
    choice.regex = value.get<std::string>();
  }
  return choice;
}

}  // namespace lora::config
