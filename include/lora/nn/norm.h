#pragma once
#include <ATen/core/Tensor.h>

#include "lora/nn/host.h"
#include "lora/nn/pass_memory.h"

namespace lora::nn {

/// A norm over the channels of each row, with weights: what a layer knows of its norms, whatever their kind.
class Norm : public Host {
 public:
  using Host::Host;

  virtual Tensor forward(const Tensor& x_TD) const = 0;
  /// Of a row: the input and what is divided by.
  virtual Kept kept() const = 0;
  /// Channels of a row.
  int64_t dim() const { return weights().front().base().size(0); }
};

}  // namespace lora::nn
