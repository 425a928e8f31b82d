#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "lora/nn/model.h"
#include "lora/peft/given_starts.h"

namespace lora::peft {

/// The data pass of "corda" (Yang et al. 2024, "CorDA: Context-Oriented Decomposition Adaptation"), equal to PEFT's preprocess_corda when
/// it runs the model on the same documents one by one: the mean over documents of the covariance C of each target's input, of which each
/// document is divided by its largest value. With U S Vᵀ the singular value decomposition of W C, A = (S / scale)^(1/2) Vᵀ C⁻¹ and
/// B = U (S / scale)^(1/2) for the r largest (ipm) or smallest (kpm) of S. Keeps one matrix [in, in] for each input of targets.
class CordaPass {
 public:
  /// `model` must have no adapter. Throws config Error for targets that match nothing or whose start has no such rank.
  CordaPass(const LoraOptions& options, nn::Model& model);
  ~CordaPass();

  /// Runs the model on a batch and adds the covariances of its first documents, at most as many as are still missing. Throws config Error
  /// for a target whose input is not a row per token, and model Error for inputs that are not finite.
  void add(const nn::Batch& batch);
  /// Whether corda_config.num_documents have been added.
  bool is_complete() const;
  /// The number of documents that have been added.
  int64_t num_documents() const;

  /// The start of every target, after at least one document. Throws Interrupted when a signal arrives, and model Error for a covariance
  /// that cannot be inverted.
  std::vector<ModuleStart> starts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::peft
