#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/file.h"
#include "lora/base/json.h"

namespace lora::app {

/// What a run is made of: two runs with equal ids give equal results.
struct RunIdentity {
  std::string id;  ///< SHA-256 over what follows
  Json hashes;     ///< {"base": {file: sha256}, "tokenizer": …, "init_from": …, "train": [{"path", "sha256"}], "eval": …}
};

/// @param config the resolved config; keys that do not change the numbers (output_dir, logging, saving) do not count,
/// nor do paths: files count by their content.
RunIdentity identify_run(const Json& config, const Json& hashes);

/// Throws output Error if the folder could not be written, without making it: --dry-run.
void check_output_folder(const std::filesystem::path& folder);

/// SHA-256 of each file, by its name.
Json hash_files(const std::vector<std::filesystem::path>& files);

/// What is to be done in an output folder.
enum class RunStart {
  kFresh,
  kResume,    ///< from `checkpoint`
  kFinished,  ///< nothing: the same run has ended here
};

struct RunPlan {
  RunStart start = RunStart::kFresh;
  std::filesystem::path checkpoint;
};

/// The output folder of one run: locked while this lives; its run.json says whose it is.
class RunFolder {
 public:
  /// Creates and locks the folder and removes what a killed process left. Throws output Error if it cannot.
  explicit RunFolder(const std::filesystem::path& folder);

  /// Decides by run.json and the checkpoints. `resume`: "auto", "never", or a checkpoint folder. Throws output Error if
  /// the folder holds another run's files and `overwrite` is false; with it they are removed. Throws config Error for a
  /// checkpoint that is damaged or another run's.
  RunPlan plan(const RunIdentity& identity, const std::string& resume, bool overwrite);

  /// Removes what stands ahead of the step a run goes on from: damaged checkpoints, and those it will write again.
  void remove_checkpoints_after(int64_t step) const;
  /// How the run uses memory: for run.json.
  void set_memory(Json memory) { memory_ = std::move(memory); }
  /// Writes run.json. `status`: "running", "interrupted", "finished".
  void write(const RunIdentity& identity, const Json& config, const std::string& status, const Json& result) const;

 private:
  std::vector<std::filesystem::path> run_files() const;
  bool has_result() const;
  /// Removes the run's files, except the checkpoint `but`.
  void clear(const std::filesystem::path& but) const;

  std::filesystem::path folder_;
  Json memory_ = Json::object();
  FolderLock lock_;
};

}  // namespace lora::app
