#pragma once
#include <initializer_list>
#include <optional>

#include "data/fields.h"

namespace lora::data {

/// The first of `candidates` whose required fields a row has, with ShareGPT's name for messages; none: the row has those of none.
std::optional<RowFormat> find_format(const Fields& fields, std::initializer_list<RowFormat> candidates);

}  // namespace lora::data
