#include "lora/train/interval.h"

#include <cmath>

#include "lora/train/trainer.h"

namespace lora::train {

bool Interval::is_due(const StepReport& report) const {
  switch (strategy) {
    case Strategy::kSteps:
      return steps > 0 && report.step % steps == 0;
    case Strategy::kEpoch:
      return report.ends_epoch || report.step == report.total_steps;
    case Strategy::kNo:
    case Strategy::kBest:
      break;
  }
  return false;
}

int64_t whole_steps(double given, int64_t total_steps) {
  return static_cast<int64_t>(given < 1 ? std::ceil(given * static_cast<double>(total_steps)) : given);
}

Interval eval_interval(const TrainOptions& options, int64_t total_steps) {
  const bool counts_steps = options.eval_strategy ? *options.eval_strategy == Strategy::kSteps : options.eval_steps.has_value();
  if (counts_steps) {
    return every_steps(whole_steps(options.eval_steps.value_or(options.logging_steps), total_steps));
  }
  return {options.eval_strategy.value_or(Strategy::kNo), 0};
}

Interval save_interval(const TrainOptions& options, int64_t total_steps) {
  return {options.save_strategy, whole_steps(options.save_steps, total_steps)};
}

}  // namespace lora::train
