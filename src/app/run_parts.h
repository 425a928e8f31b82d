#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"
#include "lora/train/causal_lm.h"

namespace lora::app {

/// Everything a run is built from, loaded and checked, before its first step.
struct RunParts {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;  ///< null where every source is `tokens` and there is none
  models::BaseModel base;
  std::unique_ptr<peft::Method> method;
  data::Dataset train;
  std::optional<data::Dataset> eval;
  std::unique_ptr<train::CausalLm> objective;

  const data::Dataset* eval_set() const { return eval ? &*eval : nullptr; }
  /// SHA-256 of the base model's, tokenizer's, init_from adapter's and data's files.
  Json hashes(const config::RunConfig& config) const;
};

/// Loads tokenizer, model and data, in this order, and attaches the method.
std::unique_ptr<RunParts> load_run_parts(const config::RunConfig& config);

}  // namespace lora::app
