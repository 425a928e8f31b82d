#pragma once
#include "lora/nn/host.h"
#include "lora/nn/pass.h"
#include "lora/nn/pass_memory.h"

namespace lora::nn {

/// A place in a layer where a method can attach a module of its own, such as a bottleneck (Houlsby et al. 2019). Without one it passes
/// its input on and costs nothing. A tap has no weights and is not among a model's hosts: target_modules does not match it. Its name is
/// that of the module which the adapters library (adapterhub.ml) puts in this place.
class Tap : public Host {
 public:
  using Host::Host;

  const char* kind() const override { return "Tap"; }
  bool can_be_saved() const override { return false; }

  /// x_TD, a block's output, through what is attached and in use.
  Tensor forward(const Tensor& x_TD, const Pass& pass) const;
  /// What the attachments in use keep per token from the forward pass to backward.
  Kept kept() const;
};

}  // namespace lora::nn
