#include "lora/base/log.h"
#include "lora/train/hooks.h"

namespace lora::train {

CheckpointHook::CheckpointHook(std::filesystem::path output_dir, CheckpointOptions options, const optim::Optimizer& optimizer,
                               SaveResult save_result)
    : output_dir_(std::move(output_dir)), options_(options), optimizer_(optimizer), save_result_(std::move(save_result)) {}

bool CheckpointHook::on_start(TrainerState& state) {
  if (state.step > 0) {
    saved_step_ = state.step;
  }
  return false;
}

bool CheckpointHook::on_step(const StepReport& report, TrainerState& state) {
  if (options_.interval.is_due(report) || is_best_to_save(state)) {
    save(state);
  }
  return false;
}

void CheckpointHook::on_end(TrainerState& state) {
  const bool saves_last = options_.interval.strategy == Strategy::kSteps || options_.interval.strategy == Strategy::kEpoch;
  if ((saves_last || is_best_to_save(state)) && saved_step_ != state.step) {
    save(state);
  }
}

bool CheckpointHook::is_best_to_save(const TrainerState& state) const {
  return (options_.keep_best || options_.interval.strategy == Strategy::kBest) && state.best_step == state.step;
}

void CheckpointHook::save(const TrainerState& state) {
  checkpoint::save(output_dir_, state, optimizer_.state(), save_result_);
  saved_step_ = state.step;
  if (options_.save_total_limit) {
    checkpoint::prune(output_dir_, *options_.save_total_limit, options_.keep_best ? state.best_step : std::nullopt);
  }
}

void CheckpointHook::save_if_new(const TrainerState& state) {
  if (saved_step_ != state.step || state.evaluation_due) {
    save(state);
  }
}

void CheckpointHook::on_interrupt(TrainerState& state) {
  save_if_new(state);
  log::end_progress();
  log::info("Stopped by a signal after step " + std::to_string(state.step) +
            ". A checkpoint was written: run the same command to resume from it.");
}

}  // namespace lora::train
