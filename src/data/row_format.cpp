#include "data/row_format.h"

#include <algorithm>
#include <string>
#include <vector>

#include "data/conversation.h"
#include "data/formats.h"

namespace lora::data {

std::optional<RowFormat> find_format(const Fields& fields, bool only_documents) {
  for (const Format& entry : formats()) {
    if (only_documents && facts_of(entry.format).content != RowContent::kDocuments) {
      continue;
    }
    const bool has_all =
        std::all_of(entry.required.begin(), entry.required.end(), [&](const std::string& field) { return fields.has(field); });
    if (has_all || (entry.format == RowFormat::kMessages && has_conversation(fields))) {
      return entry.format;
    }
  }
  return std::nullopt;
}

}  // namespace lora::data
