#include "lora/train/trainer.h"

#include <torch/torch.h>

#include <chrono>
#include <cmath>

#include "lora/base/error.h"
#include "lora/optim/schedule.h"

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
                  ". The step was not applied and no result is written; try a lower learning_rate or a longer warm-up");
}

}  // namespace

Trainer::Trainer(TrainerParts parts, const TrainOptions& options, StepPlan& plan, bool half_precision)
    : parts_(std::move(parts)), options_(options), plan_(plan), half_precision_(half_precision) {}

void Trainer::run(TrainerState& state) {
  if (half_precision_ && state.loss_scale == 0) {
    state.loss_scale = kFirstLossScale;
  }
  bool stop = false;
  for (Hook* hook : parts_.hooks) {
    stop = hook->on_start(state) || stop;
  }
  while (!stop && state.step < plan_.total_steps()) {
    const StepReport report = step(state);
    for (Hook* hook : parts_.hooks) {
      stop = hook->on_step(report, state) || stop;
    }
  }
  for (Hook* hook : parts_.hooks) {
    hook->on_end(state);
  }
}

/// Backward of every micro-batch; returns the sum of the losses.
double Trainer::accumulate_gradients(const std::vector<MicroBatch>& batches, int64_t step, double scale) const {
  at::Tensor total;
  for (const MicroBatch& batch : batches) {
    const at::Tensor loss = parts_.objective.loss_sum(batch, step);
    (loss * scale).backward();
    const at::Tensor value = loss.detach().to(at::kDouble);
    total = total.defined() ? total + value : value;
  }
  return total.item<double>();
}

void Trainer::unscale_gradients(double scale) const {
  const at::NoGradGuard no_grad;
  for (const nn::Parameter& parameter : parts_.parameters) {
    if (parameter.tensor.grad().defined()) {
      parameter.tensor.grad().mul_(1.0 / scale);
    }
  }
}

/// The step's batches and the first of the next step, which can be got ready while this one ends.
std::vector<MicroBatch> Trainer::with_next(std::vector<MicroBatch> batches, int64_t step) const {
  if (step + 1 < plan_.total_steps()) {
    batches.push_back(plan_.micro_batches(step + 1).front());
  }
  return batches;
}

StepReport Trainer::step(TrainerState& state) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<MicroBatch> batches = plan_.micro_batches(state.step);
  StepReport report;
  for (const MicroBatch& batch : batches) {
    const BatchSize size = parts_.objective.size(batch);
    report.size.supervised += size.supervised;
    report.size.input += size.input;
  }
  std::vector<double> counted{static_cast<double>(report.size.supervised)};
  parts_.communicator.all_reduce_sum(counted);

  parts_.objective.expect(with_next(batches, state.step));
  for (const nn::Parameter& parameter : parts_.parameters) {
    parameter.tensor.mutable_grad() = at::Tensor();
  }
  const double scale = half_precision_ ? state.loss_scale : 1.0;
  std::vector<double> loss{accumulate_gradients(batches, state.step, scale / counted[0])};
  parts_.communicator.all_reduce_sum(loss);
  report.loss = loss[0] / counted[0];
  if (!std::isfinite(report.loss)) {
    diverged(state.step + 1, "the loss", report.loss, parts_.objective.describe(batches.front()));
  }
  if (half_precision_) {
    unscale_gradients(scale);
  }
  report.grad_norm = optim::clip_grad_norm(parts_.parameters, options_.max_grad_norm);
  report.learning_rate = options_.learning_rate * optim::schedule_factor(options_.schedule, options_.learning_rate, state.step);
  if (std::isfinite(report.grad_norm)) {
    parts_.optimizer.step(report.learning_rate);
    if (half_precision_ && ++state.loss_scale_growth >= kLossScaleGrowthInterval) {
      state.loss_scale *= 2;
      state.loss_scale_growth = 0;
    }
  } else if (half_precision_ && state.loss_scale > 1.0) {
    // The scale was too large for float16: the update is skipped and the scale halved.
    state.loss_scale /= 2;
    state.loss_scale_growth = 0;
  } else {
    diverged(state.step + 1, "the gradient", report.grad_norm, parts_.objective.describe(batches.front()));
  }

  report.step = ++state.step;
  report.total_steps = plan_.total_steps();
  report.epoch = state.epoch = plan_.epochs_after(state.step);
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace lora::train
