#pragma once
#include <vector>

#include "data/fields.h"

namespace lora::data {

/// How the ids of a row make up documents.
struct RowLayout {
  std::vector<bool> kept;    ///< ids that are no padding
  std::vector<bool> starts;  ///< ids that begin a further document
};

/// By the row's attention_mask, seq_lengths and position_ids, as far as it has them.
RowLayout layout_of(size_t count, const Fields& fields);

}  // namespace lora::data
