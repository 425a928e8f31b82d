#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/file.h"
#include "lora/base/json.h"
#include "run_identity.h"

namespace lora::app {

/// Throws output Error if the folder could not be written, without making it: --dry-run.
void check_output_folder(const std::filesystem::path& folder);

/// What is to be done in an output folder.
enum class RunStart {
  kFresh,
  kResume,    ///< from `checkpoint`
  kFinished,  ///< nothing: the same run has ended here
};

struct RunPlan {
  RunStart start = RunStart::kFresh;
  std::filesystem::path checkpoint = {};
  bool clears = false;       ///< the run's files in the folder are removed first, but for the checkpoint
  std::string changes = {};  ///< what is not as it was: of a run that goes on, its length; of a finished one, its evaluation
};

/// Decides by run.json and the checkpoints what is to be done in the folder, and changes nothing. `resume`: "auto", "never", or a
/// checkpoint folder. Throws output Error if the folder holds another run's files and `overwrite` is false, naming what differs, or a
/// finished run of another length without a checkpoint; config Error for a checkpoint that is damaged or another run's.
RunPlan plan_run(const std::filesystem::path& folder, const RunIdentity& identity, const std::string& resume, bool overwrite);

/// Whether there is anything of a run in the folder.
bool has_run_files(const std::filesystem::path& folder);

/// Throws output Error where more steps are done than the run is to have.
void require_room(const RunPlan& plan, int64_t total_steps);

/// The output folder of one run: locked while this lives; its run.json says whose it is.
class RunFolder {
 public:
  /// Creates and locks the folder and removes what a killed process left. Throws output Error if it cannot.
  explicit RunFolder(const std::filesystem::path& folder);

  /// Removes what the plan wants removed.
  void prepare(const RunPlan& plan) const;

  /// Removes what stands ahead of the step a run goes on from: damaged checkpoints, and those it will write again.
  void remove_checkpoints_after(int64_t step) const;
  /// How the run uses memory: for run.json.
  void set_memory(Json memory) { memory_ = std::move(memory); }
  /// Writes run.json. `status`: "running", "interrupted", "finished".
  void write(const RunIdentity& identity, const Json& config, const std::string& status, const Json& result) const;

 private:
  std::filesystem::path folder_;
  Json memory_ = Json::object();
  FolderLock lock_;
};

}  // namespace lora::app
