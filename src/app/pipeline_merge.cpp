#include "app/pipeline_merge.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

peft::BaseLayout layout_of(const PipelineWeights& weights) {
  peft::BaseLayout layout;
  for (const std::string& name : weights.names()) {
    const io::TensorFacts facts = weights.facts(name);
    layout.tensors.push_back({name, facts.shape, io::is_plain_float(facts.dtype), ""});
  }
  return layout;
}

/// The adapters as updates of the unchanged base. Throws model Error for one of another kind of model.
std::vector<peft::WeightedAdapter> settled_pipeline(const PipelineWeights& weights, std::vector<peft::WeightedAdapter> adapters) {
  for (peft::WeightedAdapter& adapter : adapters) {
    if (!peft::is_of_pipeline(adapter.adapter)) {
      model_error(adapter.name, "is not an adapter of a text-to-image pipeline: found the module '" +
                                    peft::module_of(adapter.adapter.updates.front()) + "', expected those of " +
                                    join(weights.components()));
    }
    peft::settle_start(adapter.adapter, [&](const std::string& module) { return weights.tensor(module + ".weight"); });
  }
  return adapters;
}

}  // namespace

PipelineMerge::PipelineMerge(const MergeRequest& request, const models::ModelOptions& base,
                             const std::vector<peft::WeightedAdapter>& adapters)
    : model(base), pipeline({.path = base.path}), weights(pipeline), subtracts(request.unmerge) {
  const peft::BaseReference reference(model.name, subtracts ? "" : weights.fingerprint(), request.allow_other_base);
  for (const peft::WeightedAdapter& adapter : adapters) {
    peft::require_same_base(adapter.name, adapter.adapter.base_fingerprint, reference);
  }
  plan = peft::plan_merge(layout_of(weights), settled_pipeline(weights, adapters), subtracts);
}

std::set<std::string> PipelineMerge::changed_components() const {
  std::set<std::string> components;
  for (const peft::MergedTensor& tensor : plan.tensors) {
    if (tensor.is_changed()) {
      components.insert(peft::component_of(tensor.name));
    }
  }
  return components;
}

std::string PipelineMerge::summary() const {
  const auto count = std::count_if(plan.tensors.begin(), plan.tensors.end(), [](const auto& tensor) { return tensor.is_changed(); });
  const std::set<std::string> components = changed_components();
  return counted(count, "tensor") + " of " + join({components.begin(), components.end()}) + (subtracts ? " unmerged" : " merged");
}

}  // namespace lora::app
