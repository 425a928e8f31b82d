#pragma once
#include <ATen/core/Tensor.h>

#include "optim/kernels.h"

namespace lora::optim {

/// The moments of a parameter: two 8-bit codes per element, or float32 if it is small.
struct Slot8bit {
  at::Tensor exp_avg;            ///< uint8 or float32, of the parameter's shape
  at::Tensor exp_avg_absmax;     ///< float32, one per block; undefined if exp_avg is float32
  at::Tensor exp_avg_sq;         ///< as exp_avg
  at::Tensor exp_avg_sq_absmax;  ///< as exp_avg_absmax
  at::Tensor step;               ///< updates so far: float32 scalar in CPU memory

  bool quantized() const { return exp_avg_absmax.defined(); }
};

Slot8bit make_slot_8bit(const at::Tensor& parameter);

/// The update by ATen's operators: used on devices other than the CPU, and the plain reference of the kernel.
/// @param gradient in the parameter's memory order
void adamw_8bit_by_operators(const at::Tensor& parameter, const Slot8bit& slot, const at::Tensor& gradient, const AdamWFactors& factors);

}  // namespace lora::optim
