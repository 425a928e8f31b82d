#pragma once
#include <string>
#include <vector>

#include "app/memory_plan.h"
#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/models/base_model.h"
#include "lora/peft/method.h"

namespace lora::app {

struct Figures {
  int64_t trainable = 0;
  int64_t total = 0;
  double percent() const { return total == 0 ? 0 : 100.0 * static_cast<double>(trainable) / static_cast<double>(total); }
};

/// Counts parameters as PEFT's print_trainable_parameters does: the total is base model plus adapter.
Figures count_parameters(const nn::Model& model, const peft::Method& method);

/// The base's weights for run.json: "weight_bytes" in memory, and "packed_bits_per_parameter" of those that are packed, if any are.
Json weight_figures(const nn::Model& model);

/// What summary_lines() describes: the run, before its first step.
struct SummaryInput {
  const config::RunConfig& config;
  const models::BaseModel& base;
  const peft::Method& method;
  const data::Dataset& train;
  const data::Dataset* eval;
  const data::LabelSet* labels;             ///< null if the rows have tokens to predict
  const std::vector<std::string>& prompts;  ///< lines that describe how rows become prompts
  int64_t total_steps;
};

std::vector<std::string> summary_lines(const SummaryInput& input, const MemoryPlan& memory);

}  // namespace lora::app
