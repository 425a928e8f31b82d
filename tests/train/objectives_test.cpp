#include "lora/train/objectives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/golden_run.h"

namespace lora::train {
namespace {

TEST(Objectives, MeasureWhatTheirEntriesSay) {
  std::vector<std::string> cases = test::kClassificationCases;
  cases.emplace_back("gqa");
  for (const std::string& name : cases) {
    test::GoldenRun run(name);
    std::vector<std::string_view> known;
    for (const EvalMetric& metric : run.entry.metrics) {
      known.push_back(metric.name);
    }
    for (const std::string& metric : run.objective->metric_names()) {
      EXPECT_THAT(known, testing::Contains(std::string_view(metric))) << name;
    }
  }
}

TEST(Objectives, AllMetricsAreNamedOnce) {
  std::set<std::string_view> names;
  for (const EvalMetric& metric : eval_metrics()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
  }
  EXPECT_TRUE(names.contains("eval_loss"));
  EXPECT_FALSE(greater_is_better("eval_loss"));
  EXPECT_TRUE(greater_is_better("eval_accuracy"));
}

}  // namespace
}  // namespace lora::train
