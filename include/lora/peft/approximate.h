#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lora/io/checkpoint.h"
#include "lora/peft/adapter.h"

namespace lora::peft {

/// How well the change of one module is approximated: Frobenius norms of the change and of the error.
struct ModuleError {
  std::string module;
  double norm = 0;
  double error = 0;

  double relative() const { return norm > 0 ? error / norm : 0; }
};

/// An adapter that approximates another one or a difference of weights. Its scale is 1 everywhere: lora_alpha is the rank and
/// use_rslora is false.
struct Approximation {
  Adapter adapter;
  std::vector<ModuleError> modules;  ///< in the order of the updates

  /// Over all modules: √Σ error² / √Σ norm².
  double relative_error() const;
};

/// The adapter with exactly `rank` in every module, by the singular value decomposition of B A, which is not formed (low_rank_svd.h);
/// ranks above a module's own are zero. DoRA's magnitudes, biases and whole tensors are unchanged; with DoRA the errors are those
/// of scale · B A.
Approximation resized(const Adapter& adapter, int64_t rank);

/// The adapter with scale 1 everywhere (lora_alpha is the rank, use_rslora is false): lora_B is multiplied by the scale, so that nothing
/// is changed but its last bit.
Adapter with_folded_scales(Adapter adapter);

/// Returns the base weight of a module: [O, I], or [I, O] for an embedding.
using WeightOf = std::function<Tensor(const std::string& module)>;

/// Like resized, but turns DoRA and every method that is a formula (AdaLoRA, LoHa, OFT, …) into plain LoRA. DoRA's change of the whole
/// weight, m · (W + s B A) / ‖W + s B A‖ - W, has full rank, so that everything after `rank` directions is lost; the error tells how much.
/// A formula's change is approximated in the same way: AdaLoRA's has the rank that it has kept, others up to full rank. For plain LoRA
/// `weight_of` is not called. The changes of biases by formulas (ProjectionChange::changes_bias) are lost: the caller refuses them.
Approximation baked(const Adapter& adapter, int64_t rank, const WeightOf& weight_of);

/// A tensor that differs between two checkpoints and is not in the adapter.
struct NotCaptured {
  std::string name;
  std::string reason;  ///< "not a target", "only in the tuned model", …
  double norm = 0;     ///< of the difference; 0 if it cannot be computed
};

struct Extraction {
  Approximation approximation;
  std::vector<NotCaptured> not_captured;

  /// Like Approximation::relative_error, with the differences of the tensors that were not captured.
  double relative_error_of_all() const;
};

/// The modules to extract updates for. A module that is equal in both checkpoints gets none.
struct ExtractionTargets {
  std::vector<std::string> linears;  ///< modules with a matrix, or convolutions
  std::vector<std::string> embeddings;
  std::vector<std::string> turned = {};                                 ///< the linears with a weight [in, out] (Conv1D)
  std::function<std::string(const std::string&)> model_name = nullptr;  ///< from a tensor's name in the file; null: the same name
  std::function<std::string(const std::string&)> tuned_name = nullptr;  ///< the same for the tuned model's file
};

/// The best approximation of tuned - base by a LoRA of exactly `rank` in each target module, by singular value decomposition. Reads one
/// tensor of each checkpoint at a time, and lists every other difference. Throws model Error if no target differs and for a value that
/// is not finite. Throws Interrupted.
Extraction extracted(const io::Checkpoint& base, const io::Checkpoint& tuned, const ExtractionTargets& targets, int64_t rank);

}  // namespace lora::peft
