#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/model.h"
#include "lora/peft/method.h"

namespace lora::peft {

/// What EVA's look at the data gives: an adapter with its ranks shared out anew.
struct EvaStart {
  LoraOptions options;             ///< rank_pattern, alpha_pattern and target_modules as EVA leaves them
  std::vector<io::NamedTensor> A;  ///< "<module>.lora_A.weight" [rank, in], float32; B starts at zero
};

/// The data pass of "eva" (Paischer et al. 2024, "One Initialization to Rule them All"), equal to PEFT's
/// initialize_lora_eva_weights on the same batches: an incremental SVD of what each target module is given, batch by
/// batch, until the directions stand still; then the ranks go where the most variance is explained. One difference:
/// with `whiten`, PEFT divides again for each further module of the same input (its components are shared and changed
/// in place); here each is divided once. Between batches it holds its components, no activations.
class EvaPass {
 public:
  /// `model` without attachments. Throws config Error for targets that match nothing, or where rho · r is larger than a
  /// module's input.
  EvaPass(const LoraOptions& options, nn::Model& model);
  ~EvaPass();

  /// Looks at a batch, the same ones in turn until it returns true: every direction has converged, and nothing was
  /// computed. Modules skip a batch with fewer counted tokens than they have components.
  /// @param counted_N int64: positions of the batch whose inputs count.
  bool add(const nn::TokenBatch& batch, const at::Tensor& counted_N);

  /// Whether every module has had a batch that was large enough, and how many tokens that takes.
  bool is_started() const;
  int64_t tokens_needed() const;
  /// Modules whose directions have converged, of all.
  int64_t num_converged() const;
  int64_t num_modules() const;

  /// Once add() has returned true.
  EvaStart start() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Attaches the adapter as attach_lora, with A as the data gave it.
std::unique_ptr<Method> attach_eva(const EvaStart& start, nn::Model& model, const BaseReference& base, uint64_t seed);

/// The options of an adapter that a run with "eva" saved in `folder`, from the ranks that its tensors have; `options` are
/// the run's own. Throws model Error if the folder holds no adapter.
LoraOptions eva_options(const LoraOptions& options, nn::Model& model, const std::filesystem::path& folder);

}  // namespace lora::peft
