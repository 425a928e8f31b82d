#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lora/nn/attachment.h"

namespace lora::nn {

/// An adapter's own rows for some tokens (PEFT's trainable_token_indices): they replace the embedding's rows, or the head's.
/// N tokens, V vocabulary, D channels.
struct TokenRows : Attachment {
  /// @param ids_N int64, distinct. @param rows_ND in the base's dtype or a wider one.
  TokenRows(std::string adapter, Tensor ids_N, Tensor rows_ND, int64_t vocab_size);

  std::vector<Tensor> tensors() const override { return {rows_ND}; }
  /// The logits of the head, with those of these rows, plus the head's bias, in place of the base's.
  Tensor project(const ProjectionCall& call, const Tensor& y_TV) const override;
  /// The embeddings, with these rows for their tokens.
  Tensor look_up(const LookupCall& call, const Tensor& x_TD) const override;

  Tensor ids_N;
  Tensor rows_ND;
  Tensor row_V;  ///< int64: the index in rows_ND of each token of the vocabulary, -1 if the base's row applies
};

}  // namespace lora::nn
