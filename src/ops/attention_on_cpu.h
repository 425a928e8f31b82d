#pragma once
#include "ops/cpu/attention.h"

namespace lora::ops {

/// cpu::attention with its gradient.
at::Tensor attention_on_cpu(const at::Tensor& q_THE, const at::Tensor& k_SKE, const at::Tensor& v_SKE, const cpu::AttentionPlaces& places,
                            double scale);

}  // namespace lora::ops
