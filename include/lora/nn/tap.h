#pragma once
#include "lora/nn/host.h"
#include "lora/nn/pass.h"

namespace lora::nn {

/// A place in a layer where a method can attach a module of its own, such as a bottleneck (Houlsby et al. 2019). Without one it passes its
/// input on and costs nothing. A tap has no weights and is not among a model's hosts: target_modules does not match it. Its name is that
/// of the module which the adapters library (adapterhub.ml) puts in this place.
class Tap : public Host {
 public:
  /// @param dim channels of the block's output.
  Tap(const std::string& name, int64_t dim) : Host(name), dim_(dim) {}

  const char* kind() const override { return "Tap"; }
  bool can_be_saved() const override { return false; }

  int64_t dim() const { return dim_; }
  /// x_TD, through what the adapter in use attached (Attachment::tap).
  Tensor forward(const Tensor& x_TD, const Pass& pass) const;
  /// What a pass keeps of it per token until backward.
  Kept kept() const;

 private:
  int64_t dim_;
};

/// The tap behind a transformer's table of tokens, where a method gives the embeddings of virtual tokens (nn::virtual_token).
class EmbeddingTap : public Tap {
 public:
  /// @param scale by which the table's rows were multiplied before they come here.
  EmbeddingTap(const std::string& name, int64_t dim, double scale) : Tap(name, dim), scale_(scale) {}

  double scale() const { return scale_; }
  /// The number of virtual tokens that the adapter in use puts before each document.
  int64_t virtual_tokens() const;

 private:
  double scale_;
};

}  // namespace lora::nn
