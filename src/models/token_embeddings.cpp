// T tokens, D hidden size.
#include "models/token_embeddings.h"

#include <ATen/ATen.h>

namespace lora::models {

Tensor TokenEmbeddings::forward(const nn::Pass& pass) const {
  const Tensor x_TD = table_.forward(pass.batch().tokens().ids_T);
  return scale_ == 1.0 ? x_TD : x_TD * at::scalar_tensor(scale_, x_TD.options());
}

}  // namespace lora::models
