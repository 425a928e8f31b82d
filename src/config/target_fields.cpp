#include "config/target_fields.h"

#include "config/rule.h"

namespace lora::config {

namespace {

bool is_all_linear(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  return name == "all-linear";
}

}  // namespace

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
