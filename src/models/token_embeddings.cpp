// T tokens, D hidden size.
#include "models/token_embeddings.h"

#include <ATen/ATen.h>

namespace lora::models {

Tensor TokenEmbeddings::forward(const nn::Pass& pass) const {
  const Tensor& ids_T = pass.batch().tokens().ids_T;
  const bool has_virtual = virtual_tokens_.virtual_tokens() > 0;
  const Tensor x_TD = table_.forward(has_virtual ? ids_T.clamp_min(0) : ids_T);  // the row of a virtual token is replaced
  const double scale = virtual_tokens_.scale();
  return virtual_tokens_.forward(scale == 1.0 ? x_TD : x_TD * at::scalar_tensor(scale, x_TD.options()), pass);
}

}  // namespace lora::models
