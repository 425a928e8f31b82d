#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/model.h"
#include "lora/peft/method.h"

namespace lora::peft {

/// The result of EVA's data pass: an adapter with redistributed ranks.
struct EvaStart {
  LoraOptions options;             ///< with EVA's rank_pattern, alpha_pattern and target_modules
  std::vector<io::NamedTensor> A;  ///< "<module>.lora_A.weight" [rank, in], float32; B starts at zero
};

/// The data pass of "eva" (Paischer et al. 2024, "One Initialization to Rule them All"), equal to PEFT's
/// initialize_lora_eva_weights on the same batches: an incremental SVD of each target module's input, batch by batch, until the
/// directions have converged; then the ranks are distributed by explained variance. One difference: with `whiten`, PEFT divides again
/// for each further module with the same input (its components are shared and changed in place); here each is divided once. Between
/// batches only the components are kept, no activations.
class EvaPass {
 public:
  /// `model` must have no adapter. Throws config Error for targets that match nothing, or if rho · r is larger than a module's
  /// input.
  EvaPass(const LoraOptions& options, nn::Model& model);
  ~EvaPass();

  /// Processes one batch. Call it with the same batches in turn until it returns true: then every direction had converged already, and
  /// nothing was computed. Modules skip a batch with fewer counted tokens than they have components.
  /// @param counted_N int64: the positions of the batch whose inputs count.
  bool add(const nn::Batch& batch, const at::Tensor& counted_N);

  /// Whether every module has had a batch that was large enough.
  bool is_started() const;
  /// The number of counted tokens in a batch that is large enough for every module.
  int64_t tokens_needed() const;
  /// The number of modules whose directions have converged.
  int64_t num_converged() const;
  int64_t num_modules() const;

  /// The result, after add() has returned true.
  EvaStart start() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Attaches the adapter like attach_lora, with A from the data pass.
std::unique_ptr<Method> attach_eva(const EvaStart& start, nn::Model& model, const BaseReference& base, uint64_t seed);

/// The options of an adapter that a run with "eva" saved in `folder`, from the ranks of its tensors and the run's own `options`. Throws
/// model Error if the folder has no adapter.
LoraOptions eva_options(const LoraOptions& options, nn::Model& model, const std::filesystem::path& folder);

}  // namespace lora::peft
