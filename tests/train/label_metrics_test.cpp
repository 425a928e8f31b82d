#include "train/label_metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "lora/base/json.h"
#include "support/paths.h"

namespace lora::train {
namespace {

double value_of(const Metrics& metrics, const std::string& name) {
  for (const auto& [own, value] : metrics) {
    if (own == "eval_" + name) {
      return value;
    }
  }
  ADD_FAILURE() << name;
  return 0;
}

// scripts/golden/label_metrics.py computes them by their definitions, with numpy.
TEST(LabelMetrics, EqualTheirDefinitions) {
  const Json rows = read_json(std::filesystem::path(lora::test::data_folder()) / "classification" / "metrics.json", ErrorKind::kData);
  ASSERT_GT(rows.size(), 10u);
  for (const Json& row : rows) {
    const auto predicted = row["predicted"].get<std::vector<double>>(), actual = row["actual"].get<std::vector<double>>();
    const auto classes = row["classes"].get<int64_t>();
    const Metrics found = classes == 1 ? value_metrics(predicted, actual) : class_metrics(predicted, actual, classes);
    for (const auto& [key, value] : row.items()) {
      if (value.is_number_float()) {
        EXPECT_NEAR(value_of(found, key), value.get<double>(), 1e-12) << key << " of " << row.dump();
      } else if (value.is_null()) {
        EXPECT_TRUE(std::isnan(value_of(found, key))) << key << " of " << row.dump();
      }
    }
  }
}

TEST(LabelMetrics, APredictionThatIsNoNumberLeavesNone) {
  const double nan = std::nan("");
  for (const Metrics& metrics : {value_metrics({0.5, nan, 2, 1}, {1, 2, 3, 4}), value_metrics({0.5, INFINITY, 2, 1}, {1, 2, 3, 4}),
                                 class_metrics({0, nan, 1, 1}, {0, 1, 1, 0}, 2)}) {
    for (const auto& [name, value] : metrics) {
      EXPECT_TRUE(std::isnan(value)) << name;
    }
  }
}

}  // namespace
}  // namespace lora::train
