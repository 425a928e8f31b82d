#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/peft/adapter.h"

namespace lora::peft {

/// Merging adapters into a base tensor by tensor, without a model: the changes are planned from names and shapes only, before any
/// weight is read.

/// An adapter and its weight in a sum.
struct WeightedAdapter {
  Adapter adapter;
  double weight = 1;
  std::string name;  ///< for messages
};

/// Whether a whole tensor of the adapter is the copy of the base that PEFT saves with an update of the same embedding or head.
bool is_base_copy(const HeldTensor& held, const Adapter& adapter);

/// What planning needs to know about a base tensor.
struct BaseTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool is_float = true;         ///< plain floating-point numbers, not quantised
  std::string model_name = {};  ///< its name in the model; empty: the same
};

struct BaseLayout {
  std::vector<BaseTensor> tensors;
  /// The head shares the weight of the embedding (tie_word_embeddings); a head in the file is ignored.
  bool tied = false;
  std::string embedding = "model.embed_tokens";  ///< the module that a tied head shares its weight with
};

/// A tensor of the result.
struct MergedTensor {
  std::string name;
  std::string source;  ///< its base tensor; another name only for the head of a tied base; empty: the adapter adds the tensor
  std::vector<int64_t> shape;
  bool is_float = true;
  Tensor replacement;                  ///< replaces the base tensor; undefined: not replaced
  std::vector<HeldTensor> rows;        ///< replace some of its rows (trainable_token_indices)
  std::vector<LowRankUpdate> updates;  ///< with the adapters' weights included in their scales
  std::vector<Tensor> addends;         ///< for a bias (lora_bias), weighted and scaled
  std::vector<FormulaUpdate> formulas = {};  ///< of a weight, or of a bias with its weight

  bool is_changed() const { return replacement.defined() || !rows.empty() || !updates.empty() || !addends.empty() || !formulas.empty(); }
  /// Whether all rows must be computed together: with a formula, and with DoRA on a weight [in, out], whose norms extend over all rows.
  bool needs_all_rows() const;
};

struct MergePlan {
  std::vector<MergedTensor> tensors;  ///< in the base's order
  bool unties = false;                ///< the result has its own head although the base is tied
  bool scores_documents = false;      ///< an adapter adds a classifier
};

/// Plans W + Σ weight · scale · B A or, with `subtract`, W - Σ …, which removes merged adapters again.
/// The head of a tied base starts as the embedding: a change of one of them unties them, unless both change in the same way
/// (ensure_weight_tying, or trained tokens, which apply to the head too). A whole tensor of an adapter replaces the base's before anything
/// is added; the adapter's weight does not apply to it, with a warning. An adapter with task_type SEQ_CLS adds its classifier to the base;
/// the result then has the model's names, not those of a file that holds only the body.
/// Throws model Error that lists every update without a base tensor, with another shape, on a quantised tensor, with DoRA together
/// with another adapter on one module, and every tensor that two adapters hold whole with different values; with `subtract` also DoRA
/// and whole tensors, because the values before the merge cannot be recovered.
MergePlan plan_merge(const BaseLayout& base, const std::vector<WeightedAdapter>& adapters, bool subtract);

/// Rows begin … end - 1 of the result, from the whole base tensor, computed in float32 or wider and not yet rounded. Rows of an unchanged
/// tensor are returned as they are. A tensor without dimensions is one row.
Tensor merged_rows(const MergedTensor& tensor, const Tensor& base, int64_t begin, int64_t end);

}  // namespace lora::peft
