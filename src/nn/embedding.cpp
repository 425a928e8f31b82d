#include "lora/nn/embedding.h"

#include <ATen/ATen.h>

namespace lora::nn {

namespace {

/// x_TD with the low-rank term of these tokens; summed in float32 and rounded once.
Tensor add_low_rank(const Tensor& x_TD, const Tensor& ids_T, const Tensor& weight_VD, const LowRank& attached) {
  const Tensor low_TD = at::embedding(attached.A_RI.t(), ids_T).mm(attached.B_OR.t()) * attached.scale;
  if (!attached.magnitude_O) {
    return (x_TD + low_TD).to(x_TD.scalar_type());
  }
  // The table's channels correspond to the output rows of a projection.
  const Tensor norm_D = attached.norms.of(weight_VD.t(), attached.A_RI, attached.B_OR, attached.scale);
  return ((x_TD + low_TD) * (*attached.magnitude_O / norm_D)).to(x_TD.scalar_type());
}

}  // namespace

Embedding::Embedding(const std::string& name, int64_t num, int64_t dim, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name),
      weight_VD_(add_weight("weight", source.get(name + ".weight", {num, dim}, io::WeightRole::kEmbedding).to(options), true)) {}

Tensor Embedding::forward(const Tensor& ids_T) const {
  const Tensor weight_VD = weight_VD_.current();
  Tensor x_TD = at::embedding(weight_VD, ids_T);
  for (const TokenRows& rows : token_rows()) {
    if (rows.enabled) {
      x_TD = with_token_rows(x_TD, ids_T, rows);
    }
  }
  for (const LowRank& attached : attachments()) {
    if (attached.enabled) {
      x_TD = add_low_rank(x_TD, ids_T, weight_VD, attached);
    }
  }
  return x_TD;
}

}  // namespace lora::nn
