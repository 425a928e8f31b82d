#pragma once
#include <set>
#include <string>
#include <vector>

#include "lora/models/options.h"
#include "lora/quantization/quantizing_source.h"

namespace lora::models {

/// What is quantised while a model is loaded, and how. Weights have the model's names of their tensors.
struct QuantizationPlan {
  quantization::LoadingOptions loading;
  std::set<std::string> projections;
  std::set<std::string> experts;  ///< of mixtures: single matrices, or stacks of them

  bool packs(const std::string& weight) const { return projections.count(weight) > 0 || experts.count(weight) > 0; }
};

/// The plan for the options' model, which have a quantization that packs, without reading weights. Throws model Error for a folder that is
/// no model.
QuantizationPlan quantization_plan(const ModelOptions& options);

/// The projections of the options' model that would be quantised while it is loaded, by name, without reading weights. Throws model
/// Error for a folder that is no model.
std::vector<std::string> packed_modules(const ModelOptions& options);

}  // namespace lora::models
