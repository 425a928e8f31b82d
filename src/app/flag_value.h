#pragma once
#include <string>

#include "lora/base/enum_table.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::app {

/// The value that the word given for a flag means. Throws config Error that lists the known words.
template <typename Enum, size_t N>
Enum flag_value(const EnumTable<Enum, N>& table, const std::string& word, const char* flag) {
  const auto found = table.find(word);
  if (!found) {
    config_error(flag, "found '" + word + "', expected one of " + join(table.names()) + did_you_mean(word, table.names()));
  }
  return *found;
}

}  // namespace lora::app
