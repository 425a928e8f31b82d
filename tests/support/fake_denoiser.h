#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "lora/nn/body.h"
#include "lora/nn/denoiser.h"
#include "lora/nn/model.h"

namespace lora::test {

/// A network of one trained number w: it predicts w times the latents, plus the mean of an image's text states and a thousandth of its
/// timestep.
class FakeDenoiser : public nn::Body, public nn::Denoiser {
 public:
  mutable std::vector<at::Tensor> seen_latents, seen_timesteps;  ///< of all calls
  at::Tensor w = at::full({1}, 0.5, at::kFloat).set_requires_grad(true);

  at::Tensor predict(const at::Tensor& latents_NCHW, const at::Tensor& timesteps_N, const nn::ImageCondition& condition,
                     const nn::Pass&) const override {
    seen_latents.push_back(latents_NCHW.detach());
    seen_timesteps.push_back(timesteps_N);
    const at::Tensor own_N = condition.states_NSD.mean(at::IntArrayRef{1, 2}) + timesteps_N / 1000.0;
    return w * latents_NCHW + own_N.view({-1, 1, 1, 1});
  }
  int64_t latent_channels() const override { return 2; }

  at::Tensor hidden(const nn::Pass&) const override { return {}; }
  int64_t hidden_size() const override { return 1; }
  std::vector<nn::Host*> hosts() override { return {}; }
  std::vector<nn::Parameter> base_parameters() const override { return {}; }
  std::vector<std::string> default_target_modules() const override { return {}; }
  int64_t vocab_size() const override { return 0; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Device device() const override { return at::kCPU; }
  nn::PassMemory pass_memory(nn::Recompute) const override { return {}; }
  bool keeps_keys(int64_t, int64_t) const override { return false; }
};

}  // namespace lora::test
