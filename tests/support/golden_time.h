#pragma once
#include <chrono>

namespace lora::test {

/// The time that chat templates saw when scripts/golden rendered them.
inline constexpr std::chrono::local_seconds kGoldenTime =
    std::chrono::local_days(std::chrono::year(2025) / 3 / 9) + std::chrono::hours(4) + std::chrono::minutes(5) + std::chrono::seconds(6);

}  // namespace lora::test
