#pragma once
#include <ATen/core/grad_mode.h>

#include "lora/models/base_model.h"
#include "lora/nn/pass.h"
#include "support/batches.h"

namespace lora::models {

/// The logits [T, V] of one document of token ids.
inline at::Tensor logits_of(const BaseModel& base, const at::Tensor& input_ids) {
  const at::Tensor ids_T = input_ids.to(at::kInt).contiguous();
  const auto* const ids = ids_T.const_data_ptr<int32_t>();
  const nn::Batch batch = test::batch_of({{{ids, ids + ids_T.numel()}, {}}});
  const nn::Pass pass = nn::evaluation_pass(batch);
  const at::NoGradGuard no_grad;
  return base.model->tokens->logits(base.model->body->hidden(pass), pass);
}

}  // namespace lora::models
