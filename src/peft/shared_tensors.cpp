#include "peft/shared_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "peft/keys.h"

namespace lora::peft {

std::pair<int64_t, int64_t> widest(const std::vector<ProjectionFacts>& all) {
  int64_t inputs = 0, outputs = 0;
  for (const ProjectionFacts& projection : all) {
    inputs = std::max(inputs, projection.inputs);
    outputs = std::max(outputs, projection.outputs);
  }
  return {inputs, outputs};
}

Tensor shared_tensor(const PartTensors& stored, const std::string& name, int64_t dimensions) {
  const auto found = stored.find(name);
  const std::string key = shared_key(name);
  const std::string expected = ", expected a tensor with " + std::to_string(dimensions) + " dimensions that all modules share";
  if (found == stored.end()) {
    model_error(key, "is missing in the adapter's file: found no such tensor" + expected);
  }
  if (found->second.dim() != dimensions) {
    model_error(key, "has another shape: found " + io::shape_text(found->second.sizes()) + expected);
  }
  return found->second.to(at::kFloat);
}

void require_covers(const Tensor& shared, const std::string& name, const ProjectionFacts& projection, const std::vector<int64_t>& least,
                    size_t rank_axis) {
  if (!shared.defined()) {
    return;
  }
  const at::IntArrayRef sizes = shared.sizes();
  bool covers = sizes[rank_axis] == least[rank_axis];
  for (size_t axis = 0; axis < least.size(); ++axis) {
    covers = covers && sizes[axis] >= least[axis];
  }
  if (!covers) {
    model_error(shared_key(name), "does not fit " + projection.module + ": found " + io::shape_text(sizes) + ", expected at least " +
                                      io::shape_text(least) + " with the rank " + std::to_string(least[rank_axis]));
  }
}

}  // namespace lora::peft
