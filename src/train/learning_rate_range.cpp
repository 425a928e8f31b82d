#include "lora/train/learning_rate_range.h"

#include <algorithm>
#include <cmath>

#include "lora/base/interrupt.h"
#include "train/gradients.h"

namespace lora::train {

namespace {

/// Loss scale of a float16 model: a test is too short for the scale to adapt.
constexpr double kHalfLossScale = 1024;
/// First points of a test that a suggestion leaves out: the smoothed loss has seen too few steps.
constexpr size_t kFirstCounted = 5;

/// The loss of the step's batches; their gradients, divided by what is supervised, are in the parameters afterwards.
double loss_and_gradients(const TrainerParts& parts, const std::vector<MicroBatch>& batches, TrainerState& state, double scale) {
  std::vector<double> supervised{0};
  for (const MicroBatch& batch : batches) {
    supervised[0] += static_cast<double>(parts.objective.size(batch).supervised);
  }
  parts.communicator.all_reduce_sum(supervised);
  std::vector<double> loss{parts.runner.run(batches, std::nullopt, state, scale / supervised[0])};
  parts.communicator.all_reduce_sum(loss);
  sum_gradients(parts.parameters, parts.communicator);
  if (scale != 1) {
    unscale_gradients(parts.parameters, scale);
  }
  return loss[0] / supervised[0] + (parts.rule == nullptr ? 0 : parts.rule->add_loss());
}

}  // namespace

std::vector<RatePoint> run_range_test(const TrainerParts& parts, const TrainOptions& options, StepPlan& plan, bool half_precision,
                                           const RateRange& range) {
  std::vector<RatePoint> points;
  TrainerState state;
  double mean = 0;
  double lowest = INFINITY;
  const double growth = std::log(range.last / range.first) / static_cast<double>(std::max<int64_t>(range.steps - 1, 1));
  for (; state.step < range.steps; ++state.step) {
    throw_if_interrupted();
    RatePoint point;
    point.learning_rate = range.first * std::exp(growth * static_cast<double>(state.step));
    point.loss = loss_and_gradients(parts, plan.micro_batches(state.step), state, half_precision ? kHalfLossScale : 1);
    const double norm = optim::grad_norm(parts.parameters);
    if (!std::isfinite(point.loss) || !std::isfinite(norm)) {
      break;
    }
    mean = range.momentum * mean + (1 - range.momentum) * point.loss;
    point.smoothed = mean / (1 - std::pow(range.momentum, static_cast<double>(state.step + 1)));
    points.push_back(point);
    lowest = std::min(lowest, point.smoothed);
    if (point.smoothed > range.stop_factor * lowest) {
      break;
    }
    parts.optimizer.step(point.learning_rate, optim::clip_factor(norm, options.max_grad_norm));
  }
  return points;
}

std::optional<double> suggested_learning_rate(const std::vector<RatePoint>& points) {
  const auto lower = [](const RatePoint& a, const RatePoint& b) { return a.smoothed < b.smoothed; };
  const auto lowest = static_cast<size_t>(std::min_element(points.begin(), points.end(), lower) - points.begin());
  std::optional<double> rate;
  double steepest = 0;
  for (size_t i = kFirstCounted; i + 1 <= lowest && i + 1 < points.size(); ++i) {
    const double slope = points[i + 1].smoothed - points[i - 1].smoothed;  // the rates are equally far apart in their logarithm
    if (slope < steepest) {
      steepest = slope;
      rate = points[i].learning_rate;
    }
  }
  return rate;
}

}  // namespace lora::train
