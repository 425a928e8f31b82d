#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lora/metrics/progress.h"
#include "lora/metrics/sink.h"
#include "metrics/line.h"

namespace lora::metrics {
namespace {

using testing::HasSubstr;

TEST(ConsoleLine, ShowsATrainingRow) {
  const Json row{{"step", 10},
                 {"epoch", 0.5},
                 {"loss", 2.31449},
                 {"grad_norm", 1.23},
                 {"learning_rate", 1e-4},
                 {"num_tokens", 5},
                 {"tokens_per_second", 12345.4}};
  EXPECT_EQ(console_line(row, 200), "step 10/200  epoch 0.50  loss 2.3145  grad_norm 1.230  lr 1.00e-04  12,345 tokens/s");
  EXPECT_EQ(console_line({{"step", 1}, {"loss", 2.0}}, 3), "step 1/3  loss 2.0000");
}

TEST(ConsoleLine, ShowsAnEvaluationRow) {
  const Json row{{"step", 20}, {"eval_loss", 2.1}, {"eval_perplexity", 8.16617}, {"eval_samples", 12}};
  EXPECT_EQ(console_line(row, 200), "step 20/200  evaluation: loss 2.1000  perplexity 8.166  samples 12");
  EXPECT_EQ(console_line({{"step", 2}, {"eval_loss", 3.4}, {"eval_perplexity", 30.3}, {"eval_num_tokens", 1234}}, 4),
            "step 2/4  evaluation: loss 3.4000  perplexity 30.30  num_tokens 1,234");
  EXPECT_EQ(console_line({{"step", 2}, {"eval_loss", 8.4}, {"eval_perplexity", 4463.4}}, 4),
            "step 2/4  evaluation: loss 8.4000  perplexity 4463");
  EXPECT_EQ(console_line({{"step", 2}, {"loss", 2.0}, {"tokens_per_second", 64841.0}}, 4, "rows"), "step 2/4  loss 2.0000  64,841 rows/s")
      << "feature rows have no tokens";
}

TEST(ConsoleLine, SurvivesNonFiniteNumbers) {
  const Json row{
      {"step", 1}, {"loss", std::nan("")}, {"grad_norm", nullptr}, {"tokens_per_second", std::numeric_limits<double>::infinity()}};
  EXPECT_EQ(console_line(row, 2), "step 1/2  loss nan  grad_norm nan  nan tokens/s");
  EXPECT_THAT(console_line({{"loss", std::numeric_limits<double>::max()}}, 2), HasSubstr("loss 17976931348"));
}

TEST(ConsoleSink, LogsOneLinePerRowToStderr) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  make_console_sink(200)->write({{"step", 10}, {"loss", 2.25}});
  const std::string shown = testing::internal::GetCapturedStderr();
  EXPECT_THAT(shown, HasSubstr("step 10/200  loss 2.2500\n"));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(Progress, ShowsTheLine) {
  std::vector<std::string> lines;
  Progress progress([&](const std::string& line) { lines.push_back(line); });
  progress.update(3, 12, 2.31449, 1e-4, 12345.4, 80);
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0], "[===         ] 3/12  loss 2.3145  lr 1.0e-04  12,345 tok/s  1m20s left");
  progress.update(12, 12, 2.0, 0, std::nan(""), std::numeric_limits<double>::infinity());
  EXPECT_EQ(lines.back(), "[============] 12/12  loss 2.0000  lr 0.0e+00");
  progress.finish();
}

TEST(Progress, IsShownAtMostTenTimesASecondButAlwaysAtTheEnd) {
  std::vector<std::string> lines;
  Progress progress([&](const std::string& line) { lines.push_back(line); });
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t step = 1; step <= 1000; ++step) {
    progress.update(step, 1000, 1, 1, 1, 1);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LE(lines.size(), 2 + static_cast<size_t>(seconds.count() * 10));
  EXPECT_THAT(lines.front(), HasSubstr(" 1/1000 "));
  EXPECT_THAT(lines.back(), HasSubstr(" 1000/1000 "));
}

}  // namespace
}  // namespace lora::metrics
