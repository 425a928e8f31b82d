#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lora/nn/dropout.h"
#include "lora/nn/pass.h"
#include "lora/ops/attention.h"

namespace lora::nn {

/// Attention of the pass's tokens within their documents, including the tokens that the pass's cache holds; the new keys and
/// values are added to the cache. Families reach ops/ only through this function. q_THE, k_TKE (both rotated) and v_TKE → [T, H, E].
/// @param layer from 0, in the order in which a pass visits the layers.
/// @param dropout of the attention probabilities, if the base model trains with it.
Tensor attend(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const Pass& pass, int64_t layer,
              const ops::AttentionOptions& options, const Dropout* dropout = nullptr);

}  // namespace lora::nn
