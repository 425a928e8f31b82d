#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "optim/kernels.h"
#include "optim/state_memory.h"

namespace lora::optim {

/// How an optimiser stores a moment.
enum class MomentFormat {
  kAsParameter,  ///< in the parameter's dtype
  kFloat32,
  k8bit,  ///< in blocks of 8-bit codes; in float32 for parameters below bitsandbytes' min_8bit_size, 4096 elements
};

/// One moment of a parameter.
struct StoredMoment {
  at::Tensor values;  ///< numbers, or uint8 codes, of the parameter's shape and in its memory order
  at::Tensor absmax;  ///< float32, the largest magnitude of each block of codes; undefined for numbers

  bool quantized() const { return absmax.defined(); }
};

StoredMoment make_moment(StateMemory& memory, const at::Tensor& parameter, MomentFormat format);

/// Adds what a checkpoint holds of a moment: `name`, and `name`_absmax of a quantised one.
void add_state(std::vector<io::NamedTensor>& tensors, const std::string& name, const StoredMoment& moment);

/// The codes from element `begin` on, the first of a block.
QuantizedMoment codes_at(const StoredMoment& moment, int64_t begin, bool is_signed);

// For updates by ATen's operators, on all elements in memory order.

at::Tensor in_memory_order(const at::Tensor& dense);

/// The moment's numbers [n]: the stored ones themselves, or float32 copies of what the codes mean.
at::Tensor loaded(const StoredMoment& moment, bool is_signed);

/// Quantises the changed result of loaded(). Numbers have already changed in place.
void store(const StoredMoment& moment, const at::Tensor& values, bool is_signed);

}  // namespace lora::optim
