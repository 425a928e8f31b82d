#include "lora/optim/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include "lora/base/error.h"
#include "lora/base/json.h"

// Each formula keeps the order of operations of transformers' lambda for the same kind, so that results only differ in the last bits
// of cos, sqrt and pow.
namespace lora::optim {
namespace {

using std::numbers::pi;

double ratio(int64_t numerator, int64_t denominator) {
  return static_cast<double>(numerator) / static_cast<double>(std::max<int64_t>(1, denominator));
}

/// The completed share of the steps after warm-up.
double progress(const ScheduleOptions& options, int64_t step) {
  return ratio(step - options.warmup_steps, options.total_steps - options.warmup_steps);
}

double or_default(double value, double fallback) {
  return value < 0 ? fallback : value;
}

double constant(const ScheduleOptions& /*options*/, double /*learning_rate*/, int64_t /*step*/) {
  return 1.0;
}

double linear(const ScheduleOptions& options, double /*learning_rate*/, int64_t step) {
  return std::max(0.0, ratio(options.total_steps - step, options.total_steps - options.warmup_steps));
}

double cosine(const ScheduleOptions& options, double /*learning_rate*/, int64_t step) {
  const double cycles = or_default(options.num_cycles, 0.5);
  return std::max(0.0, 0.5 * (1.0 + std::cos(pi * cycles * 2.0 * progress(options, step))));
}

double cosine_with_restarts(const ScheduleOptions& options, double /*learning_rate*/, int64_t step) {
  const double done = progress(options, step);
  if (done >= 1.0) {
    return 0.0;
  }
  const double cycles = or_default(options.num_cycles, 1.0);
  return std::max(0.0, 0.5 * (1.0 + std::cos(pi * std::fmod(cycles * done, 1.0))));
}

double polynomial(const ScheduleOptions& options, double learning_rate, int64_t step) {
  const int64_t decay_steps = options.total_steps - options.warmup_steps;
  if (step > options.total_steps || decay_steps <= 0) {
    return options.lr_end / learning_rate;
  }
  const double remaining = 1.0 - static_cast<double>(step - options.warmup_steps) / static_cast<double>(decay_steps);
  const double rate = (learning_rate - options.lr_end) * std::pow(remaining, options.power) + options.lr_end;
  return rate / learning_rate;
}

double inverse_sqrt(const ScheduleOptions& options, double /*learning_rate*/, int64_t step) {
  const int64_t without_timescale = options.warmup_steps > 0 ? options.warmup_steps : 10'000;
  const int64_t timescale = options.timescale < 0 ? without_timescale : options.timescale;
  const int64_t shift = timescale - options.warmup_steps;
  return 1.0 / std::sqrt(static_cast<double>(step + shift) / static_cast<double>(timescale));
}

/// The rise of warmup_stable_decay from 0 to 1.
double rising(RampKind kind, double done) {
  switch (kind) {
    case RampKind::kLinear:
      return done;
    case RampKind::kCosine:
      return 0.5 * (1.0 - std::cos(pi * done));
    case RampKind::kOneMinusSqrt:
      return 1.0 - std::sqrt(1.0 - done);
  }
  return done;
}

/// The decay of warmup_stable_decay from 1 (to 0 with half a cycle, if it is a cosine).
double falling(RampKind kind, double done, double cycles) {
  switch (kind) {
    case RampKind::kLinear:
      return 1.0 - done;
    case RampKind::kCosine:
      return 0.5 * (1.0 + std::cos(pi * cycles * 2.0 * done));
    case RampKind::kOneMinusSqrt:
      return 1.0 - std::sqrt(done);
  }
  return 1.0 - done;
}

double warmup_stable_decay(const ScheduleOptions& options, double /*learning_rate*/, int64_t step) {
  const auto above_floor = [&](double factor) { return std::max(0.0, factor * (1.0 - options.min_lr_ratio) + options.min_lr_ratio); };
  if (step < options.warmup_steps) {
    return above_floor(rising(options.warmup_type, ratio(step, options.warmup_steps)));
  }
  const int64_t stable_steps =
      options.num_stable_steps < 0 ? options.total_steps - options.warmup_steps - options.num_decay_steps : options.num_stable_steps;
  const int64_t into_decay = step - options.warmup_steps - stable_steps;
  if (into_decay < 0) {
    return 1.0;
  }
  if (into_decay < options.num_decay_steps) {
    const double done = ratio(into_decay, options.num_decay_steps);
    return above_floor(falling(options.decay_type, done, or_default(options.num_cycles, 0.5)));
  }
  return options.min_lr_ratio;
}

struct ScheduleEntry {
  ScheduleKind kind;
  bool linear_warmup;  ///< the factor before warmup_steps is step / warmup_steps
  bool needs_total;
  double (*factor)(const ScheduleOptions&, double learning_rate, int64_t step);
};

constexpr std::array<ScheduleEntry, 8> kScheduleTable{{
    {ScheduleKind::kLinear, true, true, linear},
    {ScheduleKind::kCosine, true, true, cosine},
    {ScheduleKind::kCosineWithRestarts, true, true, cosine_with_restarts},
    {ScheduleKind::kPolynomial, true, true, polynomial},
    {ScheduleKind::kConstant, false, false, constant},
    {ScheduleKind::kConstantWithWarmup, true, false, constant},
    {ScheduleKind::kInverseSqrt, true, false, inverse_sqrt},
    {ScheduleKind::kWarmupStableDecay, false, true, warmup_stable_decay},
}};
static_assert(kScheduleTable.size() == kSchedules.entries.size());

const ScheduleEntry& entry_of(ScheduleKind kind) {
  return *std::find_if(kScheduleTable.begin(), kScheduleTable.end(), [&](const ScheduleEntry& entry) { return entry.kind == kind; });
}

constexpr const char* kWhere = "training.lr_scheduler_kwargs";

void require_schedule(bool holds, const std::string& what) {
  if (!holds) {
    config_error(kWhere, what);
  }
}

void require_valid_polynomial(const ScheduleOptions& options, double learning_rate) {
  require_schedule(std::isfinite(options.power) && options.power >= 0,
          "power is out of range: found " + shown(options.power) + ", expected a finite number of at least 0");
  require_schedule(std::isfinite(options.lr_end) && learning_rate > options.lr_end && learning_rate > 0,
          "lr_end must be below the learning rate: found lr_end " + shown(options.lr_end) + " and learning_rate " + shown(learning_rate) +
              ". Lower lr_end.");
}

void require_valid_warmup_stable_decay(const ScheduleOptions& options) {
  require_schedule(options.num_decay_steps >= 0,
          "num_decay_steps is missing, expected a whole number of at least 0. warmup_stable_decay requires it.");
  require_schedule(options.min_lr_ratio >= 0 && options.min_lr_ratio <= 1,
          "min_lr_ratio is out of range: found " + shown(options.min_lr_ratio) + ", expected a number from 0 to 1");
  require_schedule(options.num_stable_steps >= 0 || options.warmup_steps + options.num_decay_steps <= options.total_steps,
          "warm-up and decay are longer than the training: found " + std::to_string(options.warmup_steps) + " + " +
              std::to_string(options.num_decay_steps) + " steps, expected at most " + std::to_string(options.total_steps) +
              ". Lower num_decay_steps or warmup_steps.");
}

}  // namespace

void require_valid_schedule(const ScheduleOptions& options, double learning_rate) {
  if (options.warmup_steps < 0) {
    config_error("training.warmup_steps", "found " + std::to_string(options.warmup_steps) + ", expected a whole number of at least 0");
  }
  if (entry_of(options.kind).needs_total && options.total_steps < 1) {
    config_error("training.max_steps", "the schedule " + std::string(kSchedules.name(options.kind)) + " spans all steps: found " +
                                           std::to_string(options.total_steps) + " steps, expected at least 1");
  }
  require_schedule(std::isfinite(options.num_cycles), "num_cycles must be a finite number");
  if (options.kind == ScheduleKind::kPolynomial) {
    require_valid_polynomial(options, learning_rate);
  }
  if (options.kind == ScheduleKind::kInverseSqrt) {
    require_schedule(options.timescale != 0, "timescale is out of range: found 0, expected at least 1");
  }
  if (options.kind == ScheduleKind::kWarmupStableDecay) {
    require_valid_warmup_stable_decay(options);
  }
}

double schedule_factor(const ScheduleOptions& options, double learning_rate, int64_t step) {
  require_valid_schedule(options, learning_rate);
  const ScheduleEntry& entry = entry_of(options.kind);
  if (entry.linear_warmup && step < options.warmup_steps) {
    return ratio(step, options.warmup_steps);
  }
  return entry.factor(options, learning_rate, step);
}

}  // namespace lora::optim
