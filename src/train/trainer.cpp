#include "lora/train/trainer.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/optim/schedule.h"
#include "train/gradients.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

constexpr double kFirstLossScale = 65536.0;
constexpr int64_t kLossScaleGrowthInterval = 2000;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

[[noreturn]] void diverged(int64_t step, const std::string& what, double value, const std::string& where) {
  throw Error(ErrorKind::kDiverged, "step " + std::to_string(step),
              what + " is not finite: found " + std::to_string(value) + " on " + where +
                  ". The step was not applied and no result is written; try a lower learning_rate or a longer warm-up.");
}

}  // namespace

Trainer::Trainer(TrainerParts parts, const TrainOptions& options, StepPlan& plan, bool half_precision)
    : parts_(std::move(parts)),
      options_(options),
      plan_(plan),
      half_precision_(half_precision),
      agreement_(parts_.communicator) {}

void Trainer::run(TrainerState& state) {
  if (half_precision_ && state.loss_scale == 0) {
    state.loss_scale = kFirstLossScale;
  }
  bool stop = false;
  for (Hook* hook : parts_.hooks) {
    stop = hook->on_start(state) || stop;
  }
  stop_if_interrupted(state);
  while (!agreement_.any(stop) && state.step < plan_.total_steps()) {
    const StepReport report = step(state);
    for (Hook* hook : parts_.hooks) {
      stop = hook->on_step(report, state) || stop;
    }
    stop_if_interrupted(state);
  }
  for (Hook* hook : parts_.hooks) {
    hook->on_end(state);
  }
  stop_if_interrupted(state);
}

void Trainer::stop_if_interrupted(TrainerState& state) const {
  const int signal = agreement_.interrupt_signal();
  if (signal == 0) {
    return;
  }
  for (Hook* hook : parts_.hooks) {
    hook->on_interrupt(state);
  }
  throw Interrupted{signal};
}

/// The first micro-batch of the step after this one.
std::optional<MicroBatch> Trainer::next_batch(const TrainerState& state) const {
  return state.step + 1 < plan_.total_steps() ? std::optional(plan_.micro_batches(state.step + 1).front()) : std::nullopt;
}

/// Clips the gradients and updates the parameters. If float16 gradients are not finite, skips the update and lowers the loss scale.
void Trainer::update(const StepReport& report, const MicroBatch& first, TrainerState& state) const {
  std::optional<double> gradient_scale;
  if (std::isfinite(report.grad_norm)) {
    gradient_scale = optim::clip_factor(report.grad_norm, options_.max_grad_norm);
    parts_.optimizer.step(report.learning_rate, *gradient_scale);
    if (half_precision_ && ++state.loss_scale_growth >= kLossScaleGrowthInterval) {
      state.loss_scale *= 2;
      state.loss_scale_growth = 0;
    }
  } else if (half_precision_ && state.loss_scale > 1.0) {
    state.loss_scale /= 2;
    state.loss_scale_growth = 0;
  } else {
    diverged(state.step + 1, "the gradient", report.grad_norm, parts_.objective.describe(first));
  }
  if (parts_.rule != nullptr) {
    parts_.rule->after_update(state.step + 1, gradient_scale);
  }
}

StepReport Trainer::step(TrainerState& state) {
  const ProfileScope step_scope(kStepScope);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<MicroBatch> batches = plan_.micro_batches(state.step);
  StepReport report;
  for (const MicroBatch& batch : batches) {
    const BatchSize size = parts_.objective.size(batch);
    report.size.supervised += size.supervised;
    report.size.input += size.input;
  }
  std::vector<double> counted{static_cast<double>(report.size.supervised), static_cast<double>(report.size.input)};
  parts_.communicator.all_reduce_sum(counted);
  report.size = {std::llround(counted[0]), std::llround(counted[1])};

  const double scale = half_precision_ ? state.loss_scale : 1.0;
  std::vector<double> loss{parts_.runner.run(batches, next_batch(state), state, scale / counted[0])};
  parts_.communicator.all_reduce_sum(loss);
  report.loss = loss[0] / counted[0];
  if (!std::isfinite(report.loss)) {
    diverged(state.step + 1, "the loss", report.loss, parts_.objective.describe(batches.front()));
  }
  sum_gradients(parts_.parameters, parts_.communicator);
  if (half_precision_) {
    unscale_gradients(parts_.parameters, scale);
  }
  const ProfileScope optimizer_scope(kOptimizerScope);
  if (parts_.rule != nullptr) {
    report.loss += parts_.rule->add_loss();
  }
  report.grad_norm = optim::grad_norm(parts_.parameters);
  report.learning_rate = options_.learning_rate * optim::schedule_factor(options_.schedule, options_.learning_rate, state.step);
  update(report, batches.front(), state);

  report.step = ++state.step;
  report.total_steps = plan_.total_steps();
  report.epoch = state.epoch = plan_.epochs_after(state.step);
  report.ends_epoch = plan_.ends_epoch(state.step);
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace lora::train
