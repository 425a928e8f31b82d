#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lora/io/weight_source.h"
#include "lora/peft/adapter.h"

namespace lora::peft {

/// How well one module's change is kept: Frobenius norms of the change and of what it is off by.
struct ModuleError {
  std::string module;
  double norm = 0;
  double error = 0;

  double relative() const { return norm > 0 ? error / norm : 0; }
};

/// An adapter that stands for another one, or for a difference of weights. Its scale is 1 everywhere: lora_alpha is the
/// rank, use_rslora false.
struct Approximation {
  Adapter adapter;
  std::vector<ModuleError> modules;  ///< in the order of the updates

  /// Over all modules together: √Σ error² / √Σ norm².
  double relative_error() const;
};

/// Every module at exactly `rank`, by the singular value decomposition of B A, which is not formed (low_rank_svd.h);
/// above a module's own rank the rest is zero. DoRA's magnitudes, biases and tensors held whole stay; with DoRA the
/// errors are those of scale · B A.
Approximation resized(const Adapter& adapter, int64_t rank);

/// A base weight by its module's name, [O, I] or an embedding's [I, O].
using WeightOf = std::function<Tensor(const std::string& module)>;

/// As resized, with DoRA turned into plain LoRA: the change of the whole weight, m · (W + s B A) / ‖W + s B A‖ - W, is of
/// full rank, so that the rest after `rank` directions is lost; the error says how much. Without DoRA `weight_of` is not
/// called.
Approximation baked(const Adapter& adapter, int64_t rank, const WeightOf& weight_of);

/// A tensor that differs between two checkpoints and is not in the adapter.
struct NotCaptured {
  std::string name;
  std::string reason;  ///< "not a target", "only in the tuned model", …
  double norm = 0;     ///< of the difference; 0 where there is none to be had
};

struct Extraction {
  Approximation approximation;
  std::vector<NotCaptured> not_captured;

  /// As Approximation::relative_error, with the differences of tensors that are not captured.
  double relative_error_of_all() const;
};

/// What is extracted: the modules that become updates; those that are equal in both checkpoints get none.
struct ExtractionTargets {
  std::vector<std::string> linears;
  std::vector<std::string> embeddings;
  std::vector<std::string> turned = {};                                 ///< of the linears, those whose weight is [in, out] (Conv1D)
  std::function<std::string(const std::string&)> model_name = nullptr;  ///< of a tensor, by its name in the file; null: the same
  std::function<std::string(const std::string&)> tuned_name = nullptr;  ///< likewise in the tuned model's file
};

/// The LoRA of exactly `rank` nearest to tuned - base in each target module, by their singular value decompositions;
/// reads one tensor of each checkpoint at a time. Every other difference is listed. Throws model Error if nothing differs
/// in the targets, and for a tensor that is not of plain floating-point numbers. Throws Interrupted.
Extraction extracted(const io::CheckpointSource& base, const io::CheckpointSource& tuned, const ExtractionTargets& targets, int64_t rank);

}  // namespace lora::peft
