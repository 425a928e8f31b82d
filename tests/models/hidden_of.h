#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/models/base_model.h"
#include "support/batches.h"

namespace lora::test {

/// The hidden states of two documents.
inline at::Tensor hidden_of(const models::BaseModel& base) {
  const nn::Batch batch = batch_of(documents_of({30, 12}, 80));
  const at::NoGradGuard no_grad;
  return base.model->body->hidden(nn::evaluation_pass(batch));
}

}  // namespace lora::test
