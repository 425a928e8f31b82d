#include "lora/train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/nn/device.h"
#include "lora/optim/schedule.h"
#include "lora/train/side_by_side.h"
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
      agreement_(parts_.communicator),
      lanes_(std::make_unique<ops::Lanes>(kLanes)) {}

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

/// The micro-batches in the objective's parts, further split into 2^halvings parts with about the same number of examples if possible.
std::vector<MicroBatch> Trainer::halved(const std::vector<MicroBatch>& batches, int64_t halvings) const {
  std::vector<MicroBatch> computed, parts;
  for (const MicroBatch& batch : batches) {
    const std::vector<MicroBatch> own = parts_.objective.parts(batch);
    computed.insert(computed.end(), own.begin(), own.end());
  }
  for (const MicroBatch& batch : computed) {
    const auto size = static_cast<int64_t>(batch.size());
    const int64_t pieces = halvings < 40 ? std::min(size, int64_t{1} << halvings) : size;
    for (int64_t i = 0; i < pieces; ++i) {
      parts.emplace_back(batch.begin() + i * size / pieces, batch.begin() + (i + 1) * size / pieces);
    }
  }
  return parts;
}

/// accumulate_gradients, in smaller parts if a micro-batch does not fit into the device's memory. The loss is a sum over examples and
/// dropout is drawn per example, so the step is unchanged.
double Trainer::accumulate_within_memory(const std::vector<MicroBatch>& batches, TrainerState& state, double scale) const {
  clear_gradients(parts_.parameters);
  while (true) {
    const std::vector<MicroBatch> parts = halved(batches, state.batch_halvings);
    const auto is_single = [](const MicroBatch& part) { return part.size() <= 1; };
    std::optional<double> loss;
    try {
      parts_.objective.expect(with_next(parts, state));
      loss = accumulate_gradients(parts, state.step, scale);
    } catch (const c10::OutOfMemoryError&) {
      if (std::all_of(parts.begin(), parts.end(), is_single)) {
        throw;
      }
    }
    if (!agreement_.any(!loss)) {
      return *loss;
    }
    clear_gradients(parts_.parameters);  // of completed parts, which also frees their memory
    nn::release_cached_memory(parts_.parameters.front().tensor.device());
    ++state.batch_halvings;
    log::warn("[step " + std::to_string(state.step + 1) + "] a batch of " + std::to_string(parts.front().size()) +
              " does not fit into the device's memory: continuing with halves of it. The step and its result are unchanged.");
  }
}

/// Backward of every part; returns the sum of the losses. Those that run side by side come last, the largest first, so that lanes end
/// at about the same time.
double Trainer::accumulate_gradients(const std::vector<MicroBatch>& parts, int64_t step, double scale) const {
  std::vector<MicroBatch> side_by_side;
  at::Tensor total;
  const auto add = [&total](const at::Tensor& value) { total = total.defined() ? total + value : value; };
  for (const MicroBatch& part : parts) {
    if (parts_.objective.runs_alongside_others(part)) {
      side_by_side.push_back(part);
    } else {
      add(parts_.objective.add_gradients(part, step, scale));
    }
  }
  if (!side_by_side.empty()) {
    const auto input = [this](const MicroBatch& part) { return parts_.objective.size(part).input; };
    const auto is_larger = [&](const MicroBatch& a, const MicroBatch& b) { return input(a) > input(b); };
    std::stable_sort(side_by_side.begin(), side_by_side.end(), is_larger);
    add(add_gradients_side_by_side(parts_.objective, parts_.parameters, side_by_side, step, scale, *lanes_));
  }
  return total.item<double>();
}

/// The step's batches and the first one of the next step, which can be prepared while this step ends.
std::vector<MicroBatch> Trainer::with_next(std::vector<MicroBatch> batches, const TrainerState& state) const {
  if (state.step + 1 < plan_.total_steps()) {
    batches.push_back(halved({plan_.micro_batches(state.step + 1).front()}, state.batch_halvings).front());
  }
  return batches;
}

/// Clips the gradients and updates the parameters. If float16 gradients are not finite, skips the update and lowers the loss scale.
void Trainer::update(const StepReport& report, const MicroBatch& first, TrainerState& state) const {
  if (std::isfinite(report.grad_norm)) {
    parts_.optimizer.step(report.learning_rate, optim::clip_factor(report.grad_norm, options_.max_grad_norm));
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
  std::vector<double> counted{static_cast<double>(report.size.supervised)};
  parts_.communicator.all_reduce_sum(counted);

  const double scale = half_precision_ ? state.loss_scale : 1.0;
  std::vector<double> loss{accumulate_within_memory(batches, state, scale / counted[0])};
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
