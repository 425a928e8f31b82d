#include "data/reading_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace lora::data {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct ProgressSetup {
  double now = 100;
  std::vector<std::string> bars, lines;

  ReadingProgress::Output output(bool terminal) {
    ReadingProgress::Output output{[this] { return now; }, nullptr, [this](const std::string& line) { lines.push_back(line); }};
    if (terminal) {
      output.bar = [this](const std::string& line) { bars.push_back(line); };
    }
    return output;
  }
};

TEST(ReadingProgress, IsSilentForAFastFile) {
  for (const bool terminal : {false, true}) {
    ProgressSetup setup;
    ReadingProgress progress("data.train", 1000, setup.output(terminal));
    setup.now += 0.9;
    progress.update(900, 90);
    progress.finish(100);
    EXPECT_THAT(setup.bars, IsEmpty());
    EXPECT_THAT(setup.lines, IsEmpty());
  }
}

TEST(ReadingProgress, ABarOnATerminal) {
  ProgressSetup setup;
  ReadingProgress progress("data.train", 1000, setup.output(true));
  setup.now += 10;
  progress.update(250, 12345);
  setup.now += 0.05;
  progress.update(251, 12350);  // too soon
  setup.now += 10;
  progress.update(2000, 20000);  // the file has grown
  progress.finish(20001);
  EXPECT_THAT(setup.bars, ElementsAre("reading data.train  [===         ] 25 %  12,345 rows  30s left",
                                      "reading data.train  [============] 100 %  20,000 rows  0s left"));
  EXPECT_THAT(setup.lines, ElementsAre("read data.train: 20,001 rows in 20s"));
}

TEST(ReadingProgress, OccasionalLinesWithoutATerminal) {
  ProgressSetup setup;
  ReadingProgress progress("data.eval", 0, setup.output(false));  // stdin has unknown length
  for (int i = 0; i < 25; ++i) {
    setup.now += 1;
    progress.update(0, 100 * i);
  }
  EXPECT_THAT(setup.lines, ElementsAre("reading data.eval  0 rows", "reading data.eval  1,000 rows", "reading data.eval  2,000 rows"));
}

}  // namespace
}  // namespace lora::data
