#pragma once
#include <filesystem>
#include <memory>
#include <optional>

#include "app/run_prompts.h"
#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/data/labels.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"
#include "lora/train/objective.h"

namespace lora::app {

/// The rows of a run.
struct RunRows {
  data::Dataset train;
  std::optional<data::Dataset> eval;
  std::optional<data::LabelSet> labels;  ///< the meaning of row labels; none if the rows have tokens to predict

  const data::Dataset* eval_set() const { return eval ? &*eval : nullptr; }
  const data::LabelSet* label_set() const { return labels ? &*labels : nullptr; }
};

/// Everything that a run needs, loaded and checked before its first step. Runs that differ only in their adapter share it: switch_run
/// replaces the method.
struct RunParts {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;  ///< null if all rows are ids and there is none
  RunPrompts prompts;                               ///< how rows of text become prompts
  models::BaseModel base;
  std::unique_ptr<RunRows> rows;  ///< at a fixed address, because the objective refers to them
  std::unique_ptr<peft::Method> method;  ///< null until attach_from_data, if the adapter is initialised from data
  std::unique_ptr<train::Objective> objective;

  /// Writes the current weights into a folder: the method's files and those that accompany them.
  void save(const config::RunConfig& config, const std::filesystem::path& folder) const;
  /// Writes the result of the run into its folder: what save() writes, and the rest of a pipeline whose network was trained as a whole.
  void save_result(const config::RunConfig& config) const;
};

/// SHA-256 of the files of the base model, the tokenizer, the init_from adapter and the data.
class RunHashes {
 public:
  /// `parts` must outlive the object.
  explicit RunHashes(const RunParts& parts) : parts_(parts) {}
  /// What all runs share is computed at the first call.
  Json of(const config::RunConfig& config);

 private:
  const RunParts& parts_;
  Json shared_;
};

}  // namespace lora::app
