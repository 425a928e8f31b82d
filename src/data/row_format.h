#pragma once
#include <optional>

#include "data/fields.h"

namespace lora::data {

/// The first format whose required fields the row has (messages may have ShareGPT's name), of those with documents or of all; empty if
/// there is none.
std::optional<RowFormat> find_format(const Fields& fields, bool only_documents = false);

}  // namespace lora::data
