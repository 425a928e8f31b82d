#include "memory_plan.h"

#include <algorithm>

#include "lora/nn/device.h"
#include "lora/ops/linear_cross_entropy.h"
#include "lora/optim/optimizer.h"
#include "summary.h"

namespace lora::app {

namespace {

using nn::Recompute;
using train::GradientCheckpointing;

int64_t bytes_of(const std::vector<nn::Parameter>& parameters) {
  int64_t bytes = 0;
  for (const nn::Parameter& parameter : parameters) {
    bytes += static_cast<int64_t>(parameter.tensor.nbytes());
  }
  return bytes;
}

/// All but the activations.
int64_t fixed_bytes(const SummaryInput& input) {
  const nn::Model& model = *input.base.model;
  // The program itself with LibTorch, as the resident set counts it.
  const int64_t program = model.device().is_cpu() ? int64_t{150} << 20 : 0;
  const int64_t logits = model.sequence_head() != nullptr ? 0 : ops::logits_bytes(input.longest_batch, model.vocab_size(), model.dtype());
  const int64_t trained = bytes_of(input.method.parameters());
  const int64_t moments = optim::state_bytes(input.config.training.optimizer, input.method.parameters());
  const bool full = !input.config.adapter.has_value();
  return program + bytes_of(model.base_parameters()) + (full ? 0 : trained) + trained + moments + logits;
}

}  // namespace

MemoryPlan plan_memory(const SummaryInput& input) {
  const auto plan = [&input, fixed = fixed_bytes(input)](Recompute recompute) {
    return MemoryPlan{recompute, fixed + input.base.model->activation_bytes_per_token(recompute) * input.longest_batch};
  };
  switch (input.config.training.gradient_checkpointing) {
    case GradientCheckpointing::kOff:
      return plan(Recompute::kNothing);
    case GradientCheckpointing::kSelective:
      return plan(Recompute::kFeedForward);
    case GradientCheckpointing::kFull:
      return plan(Recompute::kLayers);
    case GradientCheckpointing::kAuto:
      break;
  }
  const int64_t available = nn::available_memory_bytes(input.base.model->device());
  for (const Recompute recompute : {Recompute::kNothing, Recompute::kFeedForward}) {
    // Weights that are loaded already are counted twice here, on the safe side.
    const MemoryPlan candidate = plan(recompute);
    if (available == 0 || candidate.bytes <= available / 10 * 9) {
      return candidate;
    }
  }
  return plan(Recompute::kLayers);
}

}  // namespace lora::app
