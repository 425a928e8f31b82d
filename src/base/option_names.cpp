#include "lora/base/option_names.h"

#include <algorithm>
#include <string_view>

namespace lora {

namespace {

OptionNames& names_in_use() {
  static OptionNames names;
  return names;
}

bool is_of_word(char c) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_letter || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '/';
}

/// Whether `name` occurs at `at` as a whole word: "model.path" does not in "my_model.path", "model.path.bak" or "model.paths".
bool stands_at(std::string_view text, size_t at, std::string_view name) {
  if (text.substr(at, name.size()) != name || (at > 0 && (is_of_word(text[at - 1]) || text[at - 1] == '.'))) {
    return false;
  }
  const std::string_view rest = text.substr(at + name.size());
  const bool goes_on = !rest.empty() && (is_of_word(rest.front()) || rest.front() == '[');
  return !goes_on && !(rest.size() > 1 && rest.front() == '.' && is_of_word(rest[1]));
}

}  // namespace

void use_option_names(OptionNames names) {
  names_in_use() = std::move(names);
}

std::string with_option_names(const std::string& message) {
  const OptionNames& names = names_in_use();
  std::string text;
  for (size_t at = 0; at < message.size();) {
    const auto name = std::find_if(names.begin(), names.end(), [&](const auto& pair) { return stands_at(message, at, pair.first); });
    if (name == names.end()) {
      text += message[at++];
    } else {
      text += name->second;
      at += name->first.size();
    }
  }
  return text;
}

}  // namespace lora
