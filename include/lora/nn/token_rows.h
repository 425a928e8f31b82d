#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace lora::nn {

using at::Tensor;

/// Rows of the table of tokens that an adapter has of its own (PEFT's trainable_token_indices): they stand in for the
/// embedding's rows, or the head's. N tokens, V vocabulary, D channels.
struct TokenRows {
  std::string adapter;
  Tensor ids_N;    ///< int64, distinct
  Tensor rows_ND;  ///< of the base's dtype or a wider one
  Tensor row_V;    ///< int64: the row of each token of the vocabulary, -1 where the base's counts
  bool enabled = true;
};

/// Completes the table row_V from the ids.
TokenRows make_token_rows(const std::string& adapter, const Tensor& ids_N, const Tensor& rows_ND, int64_t vocab_size);

/// x_TD, the embeddings of ids_T, with the adapter's rows where it has them.
Tensor with_token_rows(const Tensor& x_TD, const Tensor& ids_T, const TokenRows& rows);

/// logits_TV of x_TD with those of the adapter's rows, and the head's bias, in place of the base's.
Tensor with_token_logits(const Tensor& logits_TV, const Tensor& x_TD, const TokenRows& rows, const std::optional<Tensor>& bias_V);

}  // namespace lora::nn
