#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/memory_plan.h"
#include "app/run_folder.h"
#include "app/run_parts.h"
#include "lora/comm/communicator.h"
#include "lora/config/run_config.h"
#include "lora/train/step_plan.h"

namespace lora::app {

/// The batch size and the recomputation: from the config, from the available memory, or from the checkpoint of a resumed run.
/// `found` is a batch size that an earlier run of the list chose, if any.
MemoryPlan fit_into_memory(const config::RunConfig& config, const RunParts& parts, const RunPlan& plan,
                           std::optional<int64_t> found = std::nullopt);

/// Prints the summary of a run, after checks of its schedule and of its accumulation.
void show_run(const config::RunConfig& config, const RunParts& parts, train::StepPlan& steps, const MemoryPlan& memory);

/// With several runs, prints which of them the following lines are about.
void announce_run(const config::RunList& list, size_t index);

/// What a finished run says when it is started again.
std::string finished_line(const config::RunConfig& config, const RunPlan& plan);

/// The runs of a list over one load of base and rows.
class RunSeries {
 public:
  /// Locks the folders, loads what the runs share, and checks every run, so that mistakes in later ones are reported before the first one
  /// trains for hours. `list` must outlive the object. @param resume "auto", "never", or a checkpoint folder.
  RunSeries(const config::RunList& list, const std::string& resume, bool overwrite);

  size_t size() const { return planned_.size(); }
  /// Trains a run to its end, or until it has taken `pause_after` steps. A paused run is resumed; a finished one is left as it is.
  void train(size_t index, std::optional<int64_t> pause_after = std::nullopt);
  /// The steps of a run.
  int64_t total_steps(size_t index);

 private:
  /// What a run needs before the first one starts.
  struct PlannedRun {
    std::unique_ptr<RunFolder> folder;  ///< null in all but the first of several processes
    RunIdentity identity;
    RunPlan plan;
    bool is_paused = false;
  };
  void plan_runs(const std::string& resume, bool overwrite);
  void attach(size_t index);

  const config::RunList& list_;
  std::unique_ptr<comm::Communicator> communicator_;
  std::vector<PlannedRun> planned_;  ///< before the parts: the folders are locked before anything is loaded
  RunParts parts_;
  std::optional<int64_t> found_batch_size_;
  size_t attached_ = 0;  ///< the run whose adapter is on the model
};

}  // namespace lora::app
