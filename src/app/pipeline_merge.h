#pragma once
#include <set>
#include <string>
#include <vector>

#include "app/pipeline_weights.h"
#include "lora/app/merge_command.h"
#include "lora/diffusion/pipeline.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// A text-to-image pipeline and what adapters change of it. Tensors are named as in PipelineWeights.
struct PipelineMerge {
  /// Throws model Error for adapters of another kind of model, of another base, or that do not fit.
  PipelineMerge(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters);

  std::set<std::string> changed_components() const;
  /// "128 tensors of unet merged"
  std::string summary() const;

  models::ModelOptions model;
  diffusion::Pipeline pipeline;
  PipelineWeights weights;
  peft::MergePlan plan;
  bool subtracts = false;
};

}  // namespace lora::app
