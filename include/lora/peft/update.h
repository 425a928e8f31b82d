#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/parameter.h"
#include "lora/nn/projection_change.h"

// What an adapter changes, attached to a model or in a file: training writes and loads the same updates that merging, inspecting,
// converting and combining work with.
namespace lora::peft {

using at::Tensor;

class Formula;

/// The kind of module that a low-rank pair changes.
enum class PairKind {
  kLinear,
  kConv1D,       ///< transformers' projection with a weight [I, O] (GPT-2; PEFT's fan_in_fan_out)
  kEmbedding,    ///< I are token ids, O are channels; its weight is [I, O]
  kConvolution,  ///< its weight is [O, I, kernel…]; A convolves as the module does, B is a convolution with a kernel of 1
};

/// What follows from a kind.
struct PairKindFacts {
  nn::ParameterRole A, B;  ///< by which the keys of a file name them
  bool is_turned;          ///< the weight is [I, O]
};

constexpr PairKindFacts facts_of(PairKind kind) {
  switch (kind) {
    case PairKind::kConv1D:
      return {nn::ParameterRole::kLowRankA, nn::ParameterRole::kLowRankB, true};
    case PairKind::kEmbedding:
      return {nn::ParameterRole::kEmbeddingA, nn::ParameterRole::kEmbeddingB, true};
    case PairKind::kLinear:
    case PairKind::kConvolution:
      break;
  }
  return {nn::ParameterRole::kLowRankA, nn::ParameterRole::kLowRankB, false};
}

/// The change of one module's weight: W' = W + scale · B A. With DoRA, each row of W' is scaled to the length that the magnitude
/// gives (Liu et al. 2024, section 4.1). I inputs, O outputs, R rank. A convolution's A is [R, I · kernel] here, so that everything is
/// computed as for a matrix; files have it as [R, I, kernel…], and B as [O, R, 1…].
struct LowRankUpdate {
  std::string module;  ///< transformers' module name, e.g. "model.layers.0.self_attn.q_proj"
  Tensor A_RI;         ///< float32, like B
  Tensor B_OR;
  double alpha = 0;                   ///< lora_alpha of this module
  double scale = 1;                   ///< scale_of(alpha, R, …)
  std::optional<Tensor> magnitude_O;  ///< DoRA
  std::optional<Tensor> bias_O;       ///< lora_bias: the bias of lora_B, scaled like it
  PairKind kind = PairKind::kLinear;
  std::vector<int64_t> kernel = {};  ///< kConvolution: the sizes of its kernel, of which there is one per axis

  bool is_convolution() const { return kind == PairKind::kConvolution; }
  bool is_embedding() const { return kind == PairKind::kEmbedding; }
  /// Whether the changed weight is [I, O].
  bool is_turned() const { return facts_of(kind).is_turned; }
  int64_t rank() const { return A_RI.size(0); }
};

/// A base tensor that the adapter holds, or some of its rows (trainable_token_indices).
struct HeldTensor : io::NamedTensor {
  std::vector<int64_t> rows = {};  ///< the rows of the base tensor that it holds; empty: all
  /// A tensor of the base that PEFT saves with the adapter (embeddings and head that are targets or belong to a resized vocabulary).
  /// If modules share the weight, it applies to each of them.
  bool of_base = false;
  std::string wrapper = {};  ///< of PEFT around the module, in the key: "", ".base_layer" or ".token_adapter.base_layer"

  std::string module() const { return name.substr(0, name.rfind('.')); }
};

/// The change of a projection by a formula (IA3, LoHa, OFT, …).
struct FormulaUpdate {
  std::string module;
  std::shared_ptr<const nn::ProjectionChange> change;
  std::shared_ptr<const Formula> formula;  ///< the method
  bool is_turned = false;                  ///< the weight is [I, O] (Conv1D)
};

/// The shapes of the update's tensors that do not fit a weight with these inputs and outputs, for a message; empty: they fit.
std::string misfit(const FormulaUpdate& update, int64_t inputs, int64_t outputs);

/// The name of the formula's method: "LoHa".
std::string method_name(const FormulaUpdate& update);

/// One kind of change or another.
using AdapterUpdate = std::variant<LowRankUpdate, HeldTensor, FormulaUpdate>;

/// The updates of one kind, in their order.
template <typename Kind>
std::vector<Kind> of_kind(const std::vector<AdapterUpdate>& updates) {
  std::vector<Kind> result;
  for (const AdapterUpdate& update : updates) {
    if (const Kind* own = std::get_if<Kind>(&update)) {
      result.push_back(*own);
    }
  }
  return result;
}

/// The module that an update belongs to.
std::string module_of(const AdapterUpdate& update);

/// Gives the update's module another name.
void rename_module(AdapterUpdate& update, const std::string& module);

/// A tensor of an adapter's file.
struct AdapterTensor {
  std::string name;    ///< module and part, such as "model.layers.0.self_attn.q_proj.lora_A.weight", "lm_head.weight"
  std::string module;  ///< "model.layers.0.self_attn.q_proj", "lm_head"
  nn::ParameterRole role = nn::ParameterRole::kWhole;  ///< kWhole: of a module in modules_to_save, a trained bias, or of_base
  /// A base tensor: PEFT saves embeddings and head if they are targets or the vocabulary was resized.
  bool of_base = false;
  Tensor tensor;
  std::string wrapper = {};  ///< HeldTensor::wrapper

  /// The name with the wrapper: PEFT's key without its prefix.
  std::string wrapped_name() const { return module + wrapper + name.substr(module.size()); }
};

/// Whether a tensor belongs to a low-rank pair: lora_A, lora_B, the bias of lora_B, or DoRA's magnitude.
bool is_of_pair(nn::ParameterRole role);

/// The tensors that a file holds for the updates, in their order; not copies.
std::vector<AdapterTensor> tensors_of(const AdapterUpdate& update);
std::vector<AdapterTensor> tensors_of(const std::vector<AdapterUpdate>& updates);

/// The number of values in an update's tensors.
int64_t num_parameters(const AdapterUpdate& update);

/// The factor of LoRA's B A x: alpha / rank, or alpha / sqrt(rank) with rsLoRA (Kalajdzievski 2023).
double scale_of(double alpha, int64_t rank, bool use_rslora);

/// The tensors of a pair, with the shapes that a file has.
struct FilePair {
  Tensor A, B;
};
FilePair file_pair(const LowRankUpdate& update);

/// Sets A, B, the kind and the kernel from tensors of a file: a linear module's matrices, or a convolution's pair. Returns whether their
/// shapes fit each other.
bool set_pair(LowRankUpdate& update, const FilePair& pair);

/// The shape of the weight that an update changes.
std::vector<int64_t> weight_shape(const LowRankUpdate& update);

/// The part of an update for rows begin … end - 1 of its weight.
LowRankUpdate rows_of(const LowRankUpdate& update, int64_t begin, int64_t end);

/// scale · B A in the weight's shape (weight_shape), float32. Without DoRA's magnitude.
Tensor delta(const LowRankUpdate& update);

/// The weight with the update, computed in float32 or wider and rounded once to `weight`'s dtype. Throws model Error if the shapes do
/// not match.
Tensor merged(const LowRankUpdate& update, const Tensor& weight);

}  // namespace lora::peft
