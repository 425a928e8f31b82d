#include "lora/train/learning_rate_range.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lora::train {
namespace {

/// A curve whose loss falls as a logistic function around the rate 1e-3, and rises from 1e-1 on.
std::vector<RatePoint> falling_curve() {
  std::vector<RatePoint> points;
  for (int i = 0; i <= 60; ++i) {
    const double power = -6 + 0.1 * i;
    const double loss = 3 - 1 / (1 + std::exp(-4 * (power + 3))) + (power > -1 ? 2 * (power + 1) : 0);
    points.push_back({std::pow(10, power), loss, loss});
  }
  return points;
}

TEST(LearningRateRange, SuggestsWhereTheLossFallsFastest) {
  const std::optional<double> rate = suggested_learning_rate(falling_curve());
  ASSERT_TRUE(rate);
  EXPECT_NEAR(std::log10(*rate), -3, 0.11);
  std::vector<RatePoint> rising = falling_curve();
  for (RatePoint& point : rising) {
    point.smoothed = point.learning_rate;
  }
  EXPECT_FALSE(suggested_learning_rate(rising));
}

}  // namespace
}  // namespace lora::train
