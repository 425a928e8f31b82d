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
#include "run_prompts.h"

namespace lora::app {

/// Everything a run is built from, loaded and checked, before its first step. Runs that differ in their adapter alone
/// share one: prepare() takes it from one run to the next.
struct RunParts {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;  ///< null where every source is `tokens` and there is none
  RunPrompts prompts;                               ///< how rows of text become prompts
  models::BaseModel base;
  std::unique_ptr<peft::Method> method;  ///< null until the data have been looked at, where `eva` is there
  std::unique_ptr<peft::EvaPass> eva;    ///< a look at the data that the method waits for; null: none
  data::Dataset train;
  std::optional<data::Dataset> eval;
  std::optional<data::LabelSet> labels;  ///< what labels of whole rows mean; none where tokens are learnt
  std::unique_ptr<train::Objective> objective;

  const data::Dataset* eval_set() const { return eval ? &*eval : nullptr; }
  /// Attaches this run's adapter in place of the one before; the base is loaded again where that one changed it. Does
  /// nothing for the run whose method is attached and has not been trained.
  void prepare(const config::RunConfig& config);
  /// The run's adapter with what its task adds.
  peft::LoraOptions adapter_options(const config::RunConfig& config) const;
  /// What the run's adapter says of its base.
  peft::BaseReference base_reference(const config::RunConfig& config) const;
  /// Writes the result as it stands into a folder: the method's files, and what goes with them.
  void save(const config::RunConfig& config, const std::filesystem::path& folder) const;
  /// SHA-256 of the base model's, tokenizer's, init_from adapter's and data's files.
  Json hashes(const config::RunConfig& config) const;

 private:
  friend std::unique_ptr<RunParts> load_run_parts(const config::RunConfig& config);
  void load_base(const config::RunConfig& config);
  void load_data(const config::RunConfig& config, int64_t vocab_size);
  void split_off_eval(const config::RunConfig& config);
  void try_longest_document() const;
  void apply_labels();
  void load_labelled(const config::RunConfig& config);
  void load_module_rows(const config::RunConfig& config);
  void load_prompts(const config::RunConfig& config);
  void attach(const config::RunConfig& config);
  std::unique_ptr<peft::Method> attach_full(const config::RunConfig& config) const;
  void make_objective(const config::RunConfig& config);

  const config::RunConfig* attached_ = nullptr;  ///< whose adapter is on the model
  mutable Json shared_hashes_;                   ///< of what all runs have in common, once computed
};

/// Loads tokenizer, model and data, in this order, and attaches the method; one that starts from the data (EVA) is left
/// to attach_from_data.
std::unique_ptr<RunParts> load_run_parts(const config::RunConfig& config);

}  // namespace lora::app
