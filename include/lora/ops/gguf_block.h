#pragma once
#include <cstdint>

namespace lora::ops {

/// The block formats of ggml that can be decoded.
enum class GgufBlock : int32_t { kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K, kIQ4_NL, kIQ4_XS, kMXFP4 };

}  // namespace lora::ops
