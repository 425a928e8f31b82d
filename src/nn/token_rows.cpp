#include "lora/nn/token_rows.h"

#include <ATen/ATen.h>

namespace lora::nn {

TokenRows make_token_rows(const std::string& adapter, const Tensor& ids_N, const Tensor& rows_ND, int64_t vocab_size) {
  const Tensor row_V = at::full({vocab_size}, -1, ids_N.options());
  row_V.index_copy_(0, ids_N, at::arange(ids_N.size(0), ids_N.options()));
  return {adapter, ids_N, rows_ND, row_V, true};
}

Tensor with_token_rows(const Tensor& x_TD, const Tensor& ids_T, const TokenRows& rows) {
  // All tokens take part, with or without a row: selecting some would make the host wait for the device.
  const Tensor row_T = rows.row_V.index_select(0, ids_T);
  const Tensor own_TD = at::embedding(rows.rows_ND.to(x_TD.scalar_type()), row_T.clamp_min(0));
  return at::where(row_T.ge(0).unsqueeze(1), own_TD, x_TD);
}

Tensor with_token_logits(const Tensor& logits_TV, const Tensor& x_TD, const TokenRows& rows, const std::optional<Tensor>& bias_V) {
  const Tensor bias_N = bias_V ? bias_V->index_select(0, rows.ids_N) : Tensor();
  return logits_TV.index_copy(1, rows.ids_N, at::linear(x_TD, rows.rows_ND.to(x_TD.scalar_type()), bias_N));
}

}  // namespace lora::nn
