#pragma once
#include <vector>

#include "data/fields.h"

namespace lora::data {

/// How the ids of a row are divided into documents.
struct RowLayout {
  std::vector<bool> kept;    ///< ids that are not padding
  std::vector<bool> starts;  ///< ids that begin a further document
};

/// From those of attention_mask, seq_lengths and position_ids that the row has.
RowLayout layout_of(size_t count, const Fields& fields);

}  // namespace lora::data
