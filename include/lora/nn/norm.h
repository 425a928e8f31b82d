#pragma once
#include <ATen/core/Tensor.h>

#include "lora/nn/host.h"
#include "lora/nn/pass_memory.h"

namespace lora::nn {

/// A norm over the channels of each row, with weights: what layers need to know about their norms, whatever their kind.
class Norm : public Host {
 public:
  using Host::Host;

  virtual Tensor forward(const Tensor& x_TD) const = 0;
  /// What is kept of a row: the input and the divisor.
  virtual Kept kept() const = 0;
  /// Channels of a row.
  int64_t dim() const { return weights().front().base().size(0); }
};

}  // namespace lora::nn
