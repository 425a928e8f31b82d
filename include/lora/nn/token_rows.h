#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace lora::nn {

using at::Tensor;

/// An adapter's own rows for some tokens (PEFT's trainable_token_indices): they replace the embedding's rows, or the head's.
/// N tokens, V vocabulary, D channels.
struct TokenRows {
  std::string adapter;
  Tensor ids_N;    ///< int64, distinct
  Tensor rows_ND;  ///< in the base's dtype or a wider one
  Tensor row_V;    ///< int64: the index in rows_ND of each token of the vocabulary, -1 if the base's row applies
  bool enabled = true;
};

/// Builds the lookup table row_V from the ids.
TokenRows make_token_rows(const std::string& adapter, const Tensor& ids_N, const Tensor& rows_ND, int64_t vocab_size);

/// x_TD, the embeddings of ids_T, with the adapter's rows for its tokens.
Tensor with_token_rows(const Tensor& x_TD, const Tensor& ids_T, const TokenRows& rows);

/// logits_TV for x_TD, with those of the adapter's rows, plus the head's bias, replacing the base's.
Tensor with_token_logits(const Tensor& logits_TV, const Tensor& x_TD, const TokenRows& rows, const std::optional<Tensor>& bias_V);

}  // namespace lora::nn
