#pragma once
#include <cstddef>

namespace lora::peft {

/// How many names a message lists before it only counts them.
inline constexpr size_t kNamesShown = 2;

}  // namespace lora::peft
