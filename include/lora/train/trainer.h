#pragma once
#include <optional>
#include <vector>

#include "lora/comm/communicator.h"
#include "lora/nn/parameter.h"
#include "lora/nn/step_rule.h"
#include "lora/optim/optimizer.h"
#include "lora/train/agreement.h"
#include "lora/train/objective.h"
#include "lora/train/options.h"
#include "lora/train/step_plan.h"
#include "lora/train/step_runner.h"

namespace lora::train {

/// The result of one optimiser step.
struct StepReport {
  int64_t step = 0;  ///< from 1
  int64_t total_steps = 0;
  double epoch = 0;
  bool ends_epoch = false;
  double loss = 0;           ///< of the whole step: sum over its supervised tokens divided by their number
  double grad_norm = 0;      ///< before clipping
  double learning_rate = 0;  ///< used in it
  BatchSize size;  ///< in all processes
  double seconds = 0;  ///< of training only
};

/// Something to do around steps: logging, evaluation, checkpoints, early stopping. Hooks run in the order in which they are given.
class Hook {
 public:
  virtual ~Hook() = default;
  /// Before the first step of this process; `state.step` is above 0 in a resumed run. Returns true to end the run here.
  virtual bool on_start(TrainerState& state) { return false; }
  /// After each step. Returns true to end the run here.
  virtual bool on_step(const StepReport& report, TrainerState& state) = 0;
  /// After the last step of the run.
  virtual void on_end(TrainerState& state) {}
  /// After a signal has asked the run to stop, at any of these points. The trainer then throws Interrupted.
  virtual void on_interrupt(TrainerState& state) {}
};

/// The parts of a run; all must outlive the trainer.
struct TrainerParts {
  const Objective& objective;
  StepRunner& runner;
  const std::vector<nn::Parameter>& parameters;
  optim::Optimizer& optimizer;
  comm::Communicator& communicator;
  std::vector<Hook*> hooks;
  nn::StepRule* rule = nullptr;  ///< of the method; null: it has none
};

/// The training loop, the same for every method and number of processes. A step: the sum of the losses over all its micro-batches divided
/// by the number of supervised tokens in all of them (never a mean of means), one clipping, one update. The runner computes gradients.
class Trainer {
 public:
  /// @param half_precision the model computes in float16: the loss is scaled (Micikevicius et al. 2018, section 3.2).
  Trainer(TrainerParts parts, const TrainOptions& options, StepPlan& plan, bool half_precision);

  /// Runs from state.step to the end. Throws Error (diverged) for a loss or gradient that is not finite; that update is then not
  /// applied. Throws Interrupted after a signal, once the hooks know of it.
  void run(TrainerState& state);

 private:
  StepReport step(TrainerState& state);
  void update(const StepReport& report, const MicroBatch& first, TrainerState& state) const;
  std::optional<MicroBatch> next_batch(const TrainerState& state) const;
  void stop_if_interrupted(TrainerState& state) const;

  TrainerParts parts_;
  const TrainOptions& options_;
  StepPlan& plan_;
  bool half_precision_;
  Agreement agreement_;
};

}  // namespace lora::train
