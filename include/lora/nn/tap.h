#pragma once
#include "lora/nn/host.h"
#include "lora/nn/pass.h"

namespace lora::nn {

/// The place in a layer where a block's output enters the residual stream, and where a method can attach a module of its own, such as a
/// bottleneck (Houlsby et al. 2019). A tap has no weights and is not among a model's hosts: target_modules does not match it. Its name is
/// that of the module which the adapters library (adapterhub.ml) puts in this place.
class Tap : public Host {
 public:
  /// @param dim channels of the block's output.
  Tap(const std::string& name, int64_t dim) : Host(name), dim_(dim) {}

  const char* kind() const override { return "Tap"; }
  bool can_be_saved() const override { return false; }

  /// The stream after the block, with what the adapter in use attached (Attachment::tap).
  Tensor forward(const BlockOutput& output, const Pass& pass) const;
  int64_t dim() const { return dim_; }
  /// What a pass keeps of it per token until backward.
  Kept kept() const;

 private:
  int64_t dim_;
};

/// The place after a transformer's table of tokens, where a method gives the embeddings of virtual tokens (nn::virtual_token). As a tap it
/// has no weights and is not among a model's hosts.
class EmbeddingTap : public Host {
 public:
  /// @param scale by which the table's rows were multiplied before they come here.
  EmbeddingTap(const std::string& name, int64_t dim, double scale) : Host(name), dim_(dim), scale_(scale) {}

  const char* kind() const override { return "Tap"; }
  bool can_be_saved() const override { return false; }

  int64_t dim() const { return dim_; }
  double scale() const { return scale_; }
  /// The number of virtual tokens that the adapter in use puts before each document.
  int64_t virtual_tokens() const;
  /// x_TD with the embeddings of virtual tokens, from what the adapter in use attached (Attachment::look_up).
  Tensor forward(const Tensor& x_TD, const Pass& pass) const;

 private:
  int64_t dim_;
  double scale_;
};

}  // namespace lora::nn
