#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lora/metrics/progress.h"
#include "lora/metrics/sink.h"
#include "lora/train/interval.h"
#include "lora/train/trainer.h"

namespace lora::train {

/// What a run reports as the size of its input: of images their number, as their places say nothing.
enum class Counted { kInput, kSupervised };

/// Writes a metrics row every logging_steps steps and after the last one.
class LoggingHook : public Hook {
 public:
  /// `peak_memory` returns bytes. The sinks outlive the hook.
  LoggingHook(int64_t logging_steps, std::vector<metrics::Sink*> sinks, std::function<int64_t()> peak_memory,
              Counted counted = Counted::kInput);
  bool on_step(const StepReport& report, TrainerState& state) override;
  void on_end(TrainerState& state) override;

 private:
  void write(TrainerState& state);

  int64_t logging_steps_;
  std::vector<metrics::Sink*> sinks_;
  std::function<int64_t()> peak_memory_;
  Counted counted_;
  double seconds_ = 0;       ///< of training since the last row, in this process
  int64_t timed_input_ = 0;  ///< what is counted in those seconds
  std::optional<StepReport> unwritten_;
};

/// The terminal's progress line.
class ProgressHook : public Hook {
 public:
  explicit ProgressHook(const std::string& unit = "tok", Counted counted = Counted::kInput) : bar_(unit), counted_(counted) {}
  bool on_step(const StepReport& report, TrainerState& state) override;
  void on_end(TrainerState& state) override { bar_.finish(); }

 private:
  metrics::Progress bar_;
  Counted counted_;
  double seconds_ = 0;
  int64_t steps_ = 0;
  int64_t input_ = 0;
};

/// Profiles some steps with Kineto: writes a Chrome trace, trace-<first>-<last>.json, and logs where the time went. It must come
/// before all other hooks, so that their work after the last profiled step is not in the trace.
class ProfileHook : public Hook {
 public:
  /// @param folder created when the trace is written.
  /// @param low_rank matrix products with a side of at most this count as the adapter's.
  ProfileHook(std::filesystem::path folder, ProfileOptions options, bool on_cuda, int64_t low_rank);
  ~ProfileHook() override;
  bool on_start(TrainerState& state) override;
  bool on_step(const StepReport& report, TrainerState& state) override;
  void on_end(TrainerState& state) override;

 private:
  void begin_if_due(int64_t step);
  void end(int64_t last);

  std::filesystem::path folder_;
  ProfileOptions options_;
  bool on_cuda_;
  int64_t low_rank_;
  std::optional<int64_t> first_;  ///< first step of the current recording; none: nothing is recorded
};

/// Ends the run after a step, so that it can be resumed later.
class PauseHook : public Hook {
 public:
  explicit PauseHook(int64_t after_step) : after_step_(after_step) {}
  bool on_start(TrainerState& state) override { return state.step >= after_step_; }
  bool on_step(const StepReport& report, TrainerState& state) override { return report.step >= after_step_; }

 private:
  int64_t after_step_;
};

struct EvaluationOptions {
  Interval interval;
  bool eval_on_start = false;
  std::optional<int64_t> early_stopping_patience;
  std::string metric_for_best_model = "eval_loss";  ///< one of the objective's metric_names()
  bool at_end = true;                               ///< also after the last step
};

/// Evaluates at its intervals and at the end, remembers the best result, and stops a run that no longer improves. An evaluation that a
/// signal interrupts remains due: the resumed run starts with it.
class EvaluationHook : public Hook {
 public:
  EvaluationHook(const Objective& objective, EvaluationOptions options, std::vector<metrics::Sink*> sinks);
  bool on_start(TrainerState& state) override;
  bool on_step(const StepReport& report, TrainerState& state) override;
  void on_end(TrainerState& state) override;

 private:
  bool evaluate(TrainerState& state);
  void write(const EvalResult& result, const TrainerState& state) const;
  bool is_better(double metric, const TrainerState& state) const;
  bool is_enough(const TrainerState& state) const;

  const Objective& objective_;
  EvaluationOptions options_;
  std::vector<metrics::Sink*> sinks_;
};

struct CheckpointOptions {
  Interval interval = every_steps(500);  ///< kNo: only if a signal ends the run; kBest: at each new best
  std::optional<int64_t> save_total_limit;
  bool keep_best = false;  ///< save at each new best, and keep it
};

/// Saves at its intervals, at each new best if requested, after the last step of a run that saves by steps or epochs, and after a
/// signal.
class CheckpointHook : public Hook {
 public:
  using SaveResult = std::function<void(const std::filesystem::path&)>;
  CheckpointHook(std::filesystem::path output_dir, CheckpointOptions options, const optim::Optimizer& optimizer, SaveResult save_result);
  bool on_start(TrainerState& state) override;
  bool on_step(const StepReport& report, TrainerState& state) override;
  void on_end(TrainerState& state) override;
  void on_interrupt(TrainerState& state) override;
  /// Saves unless the state is saved already: for a run that is paused.
  void save_if_new(const TrainerState& state);

 private:
  bool is_best_to_save(const TrainerState& state) const;
  void save(const TrainerState& state);

  std::filesystem::path output_dir_;
  CheckpointOptions options_;
  const optim::Optimizer& optimizer_;
  SaveResult save_result_;
  int64_t saved_step_ = -1;
};

}  // namespace lora::train
