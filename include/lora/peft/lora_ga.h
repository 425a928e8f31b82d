#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "lora/nn/model.h"
#include "lora/peft/given_starts.h"

namespace lora::peft {

/// The data pass of "lora_ga" (Wang et al. 2024, "LoRA-GA: Low-Rank Adaptation with Gradient Approximation"), equal to PEFT's
/// preprocess_loraga and lora_ga_init on the same batches up to the signs of singular vectors: the mean gradient of each target's weight,
/// whose largest singular vectors A and B get. Keeps the gradients of all targets' weights.
class GradientPass {
 public:
  /// `model` must have no adapter. Until the end of the pass the targets' weights, and nothing else, get gradients. Throws config Error for
  /// targets that match nothing, that are quantised, or whose start has no such rank.
  GradientPass(const LoraOptions& options, nn::Model& model);
  /// Frees the gradients.
  ~GradientPass();
  GradientPass(const GradientPass&) = delete;
  GradientPass& operator=(const GradientPass&) = delete;

  /// Adds the gradients of a batch's mean loss, a scalar with a graph.
  void add(const at::Tensor& loss);
  /// Whether lora_ga_config.num_batches have been added.
  bool is_complete() const { return num_batches_ >= options_.lora_ga.num_batches; }
  int64_t num_batches() const { return num_batches_; }

  /// The start of every target, after at least one batch: a pure function of gradients, weights and `seed`. Throws Interrupted when a
  /// signal arrives, and model Error for a weight without gradient or with one that is not finite.
  std::vector<ModuleStart> starts(uint64_t seed) const;

 private:
  LoraOptions options_;
  nn::Model& model_;
  std::vector<nn::Linear*> hosts_;
  int64_t num_batches_ = 0;
};

}  // namespace lora::peft
