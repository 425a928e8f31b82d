#pragma once
#include <string>

#include "lora/ops/activation_kinds.h"
#include "models/blocks.h"

namespace lora::models {

struct GatedMlpOptions {
  int64_t hidden_size;
  int64_t intermediate_size;
  ops::Activation activation;
  bool bias = false;
};

/// down_proj(act(gate_proj(x)) · up_proj(x)).
class GatedMlp : public FeedForward {
 public:
  GatedMlp(const std::string& name, const GatedMlpOptions& mlp, io::WeightSource& source, const at::TensorOptions& options);

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override { return {&gate_proj_, &up_proj_, &down_proj_}; }
  nn::Kept kept() const override;
  int64_t width() const override { return gate_proj_.out_features(); }

 private:
  nn::Linear gate_proj_, up_proj_, down_proj_;
  ops::Activation activation_;
};

}  // namespace lora::models
