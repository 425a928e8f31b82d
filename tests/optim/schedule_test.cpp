#include "lora/optim/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "lora/base/json.h"
#include "support/paths.h"

namespace lora::optim {
namespace {

/// One case of scripts/golden/schedules.py as options.
ScheduleOptions schedule_options(const Json& golden) {
  ScheduleOptions options;
  options.kind = kSchedules.find(golden.at("kind").get<std::string>()).value();
  options.warmup_steps = golden.at("warmup_steps");
  options.total_steps = golden.at("total_steps");
  const Json& kwargs = golden.at("kwargs");
  options.num_cycles = kwargs.value("num_cycles", options.num_cycles);
  options.power = kwargs.value("power", options.power);
  options.lr_end = kwargs.value("lr_end", options.lr_end);
  options.timescale = kwargs.value("timescale", options.timescale);
  options.num_decay_steps = kwargs.value("num_decay_steps", options.num_decay_steps);
  options.num_stable_steps = kwargs.value("num_stable_steps", options.num_stable_steps);
  options.min_lr_ratio = kwargs.value("min_lr_ratio", options.min_lr_ratio);
  options.warmup_type = kRamps.find(kwargs.value("warmup_type", "linear")).value();
  options.decay_type = kRamps.find(kwargs.value("decay_type", "cosine")).value();
  return options;
}

TEST(Schedule, EqualsTransformersStepByStep) {
  const Json golden = read_json(lora::test::data_folder() + "/optim/schedules.json", ErrorKind::kData);
  std::set<std::string> kinds;
  for (const Json& entry : golden.at("cases")) {
    const ScheduleOptions options = schedule_options(entry);
    const double rate = entry.at("learning_rate");
    kinds.insert(entry.at("kind"));
    int64_t step = 0;
    for (const Json& value : entry.at("learning_rates")) {
      const double expected = value;
      // The absolute tolerance is for the last step of a cosine, where 1 + cos cancels.
      EXPECT_NEAR(schedule_factor(options, rate, step) * rate, expected, 1e-12 * expected + 1e-16 * rate) << entry << " step " << step;
      ++step;
    }
    EXPECT_GE(step, options.total_steps);
  }
  EXPECT_EQ(kinds.size(), kSchedules.entries.size());
}

ScheduleOptions schedule_with(ScheduleKind kind, void (*change)(ScheduleOptions&)) {
  ScheduleOptions options;
  options.kind = kind;
  options.total_steps = 20;
  change(options);
  return options;
}

void expect_schedule_error(const ScheduleOptions& options, const std::string& fragment) {
  try {
    require_valid_schedule(options, 1e-4);
    FAIL() << "no error about " << fragment;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), testing::HasSubstr(fragment));
    EXPECT_THROW(schedule_factor(options, 1e-4, 0), Error);
  }
}

TEST(Schedule, RefusesWhatCannotBeASchedule) {
  using Kind = ScheduleKind;
  expect_schedule_error(schedule_with(Kind::kLinear, [](auto& o) { o.total_steps = 0; }), "[training.max_steps]");
  expect_schedule_error(schedule_with(Kind::kConstantWithWarmup, [](auto& o) { o.warmup_steps = -1; }), "[training.warmup_steps]");
  expect_schedule_error(schedule_with(Kind::kCosine, [](auto& o) { o.num_cycles = std::nan(""); }), "num_cycles");
  expect_schedule_error(schedule_with(Kind::kPolynomial, [](auto& o) { o.lr_end = 1e-4; }), "found lr_end 0.0001 and learning_rate 0.0001");
  expect_schedule_error(schedule_with(Kind::kPolynomial, [](auto& o) { o.power = -1; }), "power");
  expect_schedule_error(schedule_with(Kind::kInverseSqrt, [](auto& o) { o.timescale = 0; }), "timescale");
  expect_schedule_error(schedule_with(Kind::kWarmupStableDecay, [](auto&) {}), "num_decay_steps is missing");
  expect_schedule_error(schedule_with(Kind::kWarmupStableDecay,
                                      [](auto& o) {
                                        o.warmup_steps = 11;
                                        o.num_decay_steps = 10;
                                      }),
                        "found 11 + 10 steps, expected at most 20");
  expect_schedule_error(schedule_with(Kind::kWarmupStableDecay,
                                      [](auto& o) {
                                        o.num_decay_steps = 10;
                                        o.min_lr_ratio = 1.5;
                                      }),
                        "min_lr_ratio");
}

TEST(Schedule, NeedsNoTotalWhereNoneIsUsed) {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kConstantWithWarmup, ScheduleKind::kInverseSqrt}) {
    EXPECT_NO_THROW(require_valid_schedule(schedule_with(kind, [](auto& o) { o.total_steps = 0; }), 1e-4));
  }
}

TEST(Schedule, PolynomialEndsAtLrEndWhereWarmupFillsTheTraining) {
  const ScheduleOptions options = schedule_with(ScheduleKind::kPolynomial, [](auto& o) { o.warmup_steps = 20; });
  EXPECT_DOUBLE_EQ(schedule_factor(options, 1e-4, 20), 1e-3);
}

}  // namespace
}  // namespace lora::optim
