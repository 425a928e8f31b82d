#include "lora/nn/token_rows.h"

#include <ATen/ATen.h>

namespace lora::nn {

TokenRows::TokenRows(std::string adapter, Tensor ids_N, Tensor rows_ND, int64_t vocab_size)
    : Attachment(std::move(adapter)),
      ids_N(std::move(ids_N)),
      rows_ND(std::move(rows_ND)),
      row_V(at::full({vocab_size}, -1, this->ids_N.options())) {
  row_V.index_copy_(0, this->ids_N, at::arange(this->ids_N.size(0), this->ids_N.options()));
}

Tensor TokenRows::project(const ProjectionCall& call, const Tensor& y_TV) const {
  const Tensor before_TV = y_TV.defined() ? y_TV : call.base();
  const Tensor bias_N = call.bias_O ? call.bias_O->index_select(0, ids_N) : Tensor();
  return before_TV.index_copy(1, ids_N, at::linear(call.x_TI, rows_ND.to(call.x_TI.scalar_type()), bias_N));
}

Tensor TokenRows::look_up(const LookupCall& call, const Tensor& x_TD) const {
  // All tokens take part, with or without a row: selecting some would make the host wait for the device.
  const Tensor row_T = row_V.index_select(0, call.ids_T);
  const Tensor own_TD = at::embedding(rows_ND.to(x_TD.scalar_type()), row_T.clamp_min(0));
  return at::where(row_T.ge(0).unsqueeze(1), own_TD, x_TD);
}

}  // namespace lora::nn
