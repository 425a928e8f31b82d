#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/models/base_model.h"
#include "lora/peft/eva.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"
#include "lora/train/objectives.h"
#include "app/run_prompts.h"

namespace lora::app {

/// Everything that a run needs, loaded and checked before its first step. Runs that differ only in their adapter share it: prepare()
/// switches from one run to the next.
struct RunParts {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;  ///< null if all rows are ids and there is none
  RunPrompts prompts;                               ///< how rows of text become prompts
  models::BaseModel base;
  std::unique_ptr<peft::Method> method;  ///< null with `eva` until the EVA pass is done
  std::unique_ptr<peft::EvaPass> eva;    ///< the pass over the data that creates the method; null: none
  data::Dataset train;
  std::optional<data::Dataset> eval;
  std::optional<data::LabelSet> labels;  ///< the meaning of row labels; none if the rows have tokens to predict
  std::unique_ptr<train::Objective> objective;

  const data::Dataset* eval_set() const { return eval ? &*eval : nullptr; }
  /// Attaches this run's adapter in place of the previous one, and loads the base model again if that one changed it. Does nothing for the
  /// run whose method is attached and has not been trained.
  void prepare(const config::RunConfig& config);
  /// The run's adapter options with the additions of its task.
  peft::LoraOptions adapter_options(const config::RunConfig& config) const;
  /// The description of the base model that the run's adapter stores.
  peft::BaseReference base_reference(const config::RunConfig& config) const;
  /// Writes the current result into a folder: the method's files and those that accompany them.
  void save(const config::RunConfig& config, const std::filesystem::path& folder) const;
  /// SHA-256 of the files of the base model, the tokenizer, the init_from adapter and the data.
  Json hashes(const config::RunConfig& config) const;

 private:
  friend std::unique_ptr<RunParts> load_run_parts(const config::RunConfig& config);
  void load_base(const config::RunConfig& config);
  void load_data(const config::RunConfig& config, int64_t vocab_size);
  void split_off_eval(const config::RunConfig& config);
  void try_longest_document() const;
  void resolve_labels();
  void load_labelled(const config::RunConfig& config);
  void load_module_rows(const config::RunConfig& config);
  void load_prompts(const config::RunConfig& config);
  void attach(const config::RunConfig& config);
  std::unique_ptr<peft::Method> attach_full(const config::RunConfig& config) const;
  void make_objective(const config::RunConfig& config);

  const config::RunConfig* attached_ = nullptr;  ///< the run whose adapter is on the model
  mutable Json shared_hashes_;                   ///< hashes of what all runs share, once computed
};

/// Loads tokenizer, model and data, and attaches the method; one that is initialised from data (EVA) is left to attach_from_data.
std::unique_ptr<RunParts> load_run_parts(const config::RunConfig& config);

}  // namespace lora::app
