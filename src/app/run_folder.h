#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/run_identity.h"
#include "lora/base/file.h"
#include "lora/base/json.h"

namespace lora::app {

/// In the output folder: the images of training.sample, step-<step>-<prompt>.png.
inline constexpr const char* kSamplesFolder = "samples";

/// Throws output Error if the folder cannot be written. Does not create it, for --dry-run.
void require_output_folder(const std::filesystem::path& folder);

/// What to do in an output folder.
enum class RunStart {
  kFresh,
  kResume,    ///< from `checkpoint`
  kFinished,  ///< nothing to do: the same run has finished here
};

struct RunPlan {
  RunStart start = RunStart::kFresh;
  std::filesystem::path checkpoint = {};
  bool clears = false;       ///< the run's files in the folder are removed first, except for the checkpoint
  std::string changes = {};  ///< what differs from before: the length of a resumed run, the evaluation of a finished one
};

/// Decides from run.json and the checkpoints what to do in the folder, and changes nothing. `resume` is "auto", "never" or a checkpoint
/// folder. Throws output Error if the folder holds another run's files and `overwrite` is false, naming what differs, or a finished run of
/// a different length without a checkpoint; config Error for a checkpoint that is damaged or belongs to another run.
RunPlan plan_run(const std::filesystem::path& folder, const RunIdentity& identity, const std::string& resume, bool overwrite);

/// Whether the folder holds any file of a run.
bool has_run_files(const std::filesystem::path& folder);

/// Throws output Error if the checkpoint to resume from has more steps than the run.
void require_room(const RunPlan& plan, int64_t total_steps);

/// What run.json says of a run before its first step.
struct RunFigures {
  Json memory;  ///< the memory plan
  Json model;   ///< weight_figures()
};

/// The output folder of one run, locked during this object's lifetime. Its run.json identifies the run.
class RunFolder {
 public:
  /// Creates and locks the folder and removes the temporary files of a killed process. Throws output Error if it cannot.
  explicit RunFolder(const std::filesystem::path& folder);

  /// Removes the files that the plan clears.
  void prepare(const RunPlan& plan) const;

  /// Removes checkpoints after the step that the run resumes from: damaged ones, and those that it will write again.
  void remove_checkpoints_after(int64_t step) const;
  /// Writes run.json. `status`: "running", "interrupted", "diverged", "finished".
  void write(const RunIdentity& identity, const Json& config, const RunFigures& figures, const std::string& status,
             const Json& result) const;

 private:
  std::filesystem::path folder_;
  FolderLock lock_;
};

}  // namespace lora::app
