#pragma once
#include <initializer_list>
#include <optional>

#include "data/fields.h"

namespace lora::data {

/// The first of `candidates` whose required fields the row has (messages may have ShareGPT's name); empty if there is none.
std::optional<RowFormat> find_format(const Fields& fields, std::initializer_list<RowFormat> candidates);

}  // namespace lora::data
