#pragma once
#include <set>
#include <string>
#include <vector>

#include "lora/models/options.h"
#include "lora/quantization/quantizing_source.h"

namespace lora::models {

/// How the options' model is quantised while it is loaded. @param dtype that the model computes in.
/// @param inputs_first whether its files have projections as [in, out].
quantization::LoadingOptions loading_options(const ModelOptions& options, at::ScalarType dtype, bool inputs_first);

/// Warns of entries of skip_modules that match no module of the model.
void warn_of_unmatched(const quantization::PlainModules& modules);

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
