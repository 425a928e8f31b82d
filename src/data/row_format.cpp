#include "data/row_format.h"

#include <algorithm>
#include <string>
#include <vector>

#include "data/conversation.h"
#include "data/formats.h"

namespace lora::data {

std::optional<RowFormat> find_format(const Fields& fields, std::initializer_list<RowFormat> candidates) {
  for (const RowFormat format : candidates) {
    const std::vector<std::string>& required = format_of(format).required;
    const bool has_all = std::all_of(required.begin(), required.end(), [&](const std::string& field) { return fields.has(field); });
    if (has_all || (format == RowFormat::kMessages && has_conversation(fields))) {
      return format;
    }
  }
  return std::nullopt;
}

}  // namespace lora::data
