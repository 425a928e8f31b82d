#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/peft/adapter.h"

namespace lora::peft {

/// Merging adapters into a base tensor by tensor, without a model: what changes is planned from names and shapes alone,
/// before any weight is read.

/// An adapter with its factor in a sum.
struct WeightedAdapter {
  Adapter adapter;
  double weight = 1;
  std::string name;  ///< for messages
};

/// Whether a tensor that the adapter holds whole is the copy of the base that PEFT saves with an update of the same embedding or head.
bool is_base_copy(const HeldTensor& held, const Adapter& adapter);

/// What must be known of a base tensor.
struct BaseTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool is_float = true;         ///< a plain floating-point number, not a quantised one
  std::string model_name = {};  ///< what the model calls it; empty: as the file
};

struct BaseLayout {
  std::vector<BaseTensor> tensors;
  /// The head is the embedding (tie_word_embeddings): a head in the file, if any, does not count.
  bool tied = false;
  std::string embedding = "model.embed_tokens";  ///< the module that a tied head shares its weight with
};

/// A tensor of the result.
struct MergedTensor {
  std::string name;
  std::string source;  ///< the base tensor that it comes from; another name only for the head of a tied base; empty: the adapter adds it
  std::vector<int64_t> shape;
  bool is_float = true;
  Tensor replacement;                  ///< stands for the base tensor; undefined: nothing does
  std::vector<HeldTensor> rows;        ///< stand for some of its rows (trainable_token_indices)
  std::vector<LowRankUpdate> updates;  ///< with the adapters' weights in their scales
  std::vector<Tensor> addends;         ///< of a bias (lora_bias), weighted and scaled

  bool is_changed() const { return replacement.defined() || !rows.empty() || !updates.empty() || !addends.empty(); }
  /// Whether its rows can only be computed together: DoRA on a weight stored [in, out], whose lengths run over all rows.
  bool needs_all_rows() const;
};

struct MergePlan {
  std::vector<MergedTensor> tensors;  ///< in the base's order
  bool unties = false;                ///< the result has a head of its own though the base is tied
  bool scores_documents = false;      ///< an adapter adds a classifier
};

/// An adapter whose task_type is SEQ_CLS adds what the base has not: its classifier. The result then has the model's names, not those
/// of a file that holds the body alone. Plans W + Σ weight · scale · B A, or with `subtract` W - Σ …, which takes merged adapters out
/// again. The head of a tied base is the embedding as it was: a change of one of them unties them, unless both are changed alike
/// (ensure_weight_tying; trained tokens, which are the head's too). A tensor that an adapter holds whole stands for the
/// base's before anything is added; a weight does not apply to it, which is warned of.
/// Throws model Error that lists every update without its base tensor, of another shape, on a quantised tensor, with DoRA
/// beside another adapter on one module, or held whole by two adapters with other values; with `subtract` also DoRA and
/// tensors held whole: the merged weights alone do not say what was there before.
MergePlan plan_merge(const BaseLayout& base, const std::vector<WeightedAdapter>& adapters, bool subtract);

/// Rows begin … end - 1 of the result, from the whole base tensor: computed in float32 or wider and not rounded yet;
/// those of an unchanged tensor as they are. A tensor without dimensions is one row.
Tensor merged_rows(const MergedTensor& tensor, const Tensor& base, int64_t begin, int64_t end);

}  // namespace lora::peft
