#pragma once
#include <cstdint>

#include "lora/nn/batch.h"

namespace lora::data {

/// The label of a token that is not to be predicted, in the type of the ids.
inline constexpr auto kIgnore = static_cast<int32_t>(nn::kIgnoreLabel);

}  // namespace lora::data
