#pragma once
#include <string>
#include <vector>

#include "lora/data/options.h"

namespace lora::data {

/// The fields that rows of `format` may have, the required ones first. `columns` can rename each of them.
std::vector<std::string> row_fields(RowFormat format);

}  // namespace lora::data
