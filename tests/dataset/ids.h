#pragma once
#include <cstdint>
#include <vector>

namespace lora::test {

using Ids = std::vector<int32_t>;

/// The label of a token that is not supervised.
inline constexpr int32_t kNo = -100;

}  // namespace lora::test
