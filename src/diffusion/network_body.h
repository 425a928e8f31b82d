#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "lora/nn/body.h"
#include "lora/nn/denoiser.h"

namespace lora::diffusion {

using at::Tensor;

/// What transformers that remove noise from latents have in common as bodies of models: there are no tokens.
class NetworkBody : public nn::Body, public nn::Denoiser {
 public:
  /// Throws: such a network predicts from latents.
  Tensor hidden(const nn::Pass& pass) const override;
  int64_t hidden_size() const override { return latent_channels(); }
  std::vector<nn::Host*> hosts() override { return modules(); }
  std::vector<nn::Parameter> base_parameters() const override { return nn::base_parameters_of(modules()); }
  int64_t vocab_size() const override { return 0; }
  at::ScalarType dtype() const override { return at::typeMetaToScalarType(options_.dtype()); }
  at::Device device() const override { return options_.device(); }
  bool keeps_keys(int64_t, int64_t) const override { return false; }

 protected:
  explicit NetworkBody(const at::TensorOptions& options) : options_(options) {}

  virtual std::vector<nn::Host*> modules() const = 0;
  /// dtype and device of the weights, and of all that is computed.
  const at::TensorOptions& options() const { return options_; }

 private:
  at::TensorOptions options_;
};

/// Throws model Error for an input of another shape than the network's. @param what "latents"
void require_input(const std::string& what, const Tensor& tensor, const std::vector<int64_t>& expected);

/// A size of an input, 0 if it has no such dimension.
int64_t size_or_zero(const Tensor& tensor, int64_t dim);

}  // namespace lora::diffusion
