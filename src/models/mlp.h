#pragma once
#include <string>

#include "lora/ops/activation_kinds.h"
#include "models/blocks.h"

namespace lora::models {

struct MlpOptions {
  nn::LinearShape in;   ///< hidden size → intermediate size
  nn::LinearShape out;  ///< intermediate size → hidden size
  std::string in_name;  ///< names of the projections in the block
  std::string out_name;
  ops::Activation activation;
};

/// out(act(in(x))): a feed-forward block without a gate.
class Mlp : public FeedForward {
 public:
  Mlp(const std::string& name, const MlpOptions& mlp, io::WeightSource& source, const at::TensorOptions& options);

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override { return {&in_, &out_}; }
  nn::Kept kept() const override;
  int64_t width() const override { return in_.out_features(); }

 private:
  nn::Linear in_, out_;
  ops::Activation activation_;
};

}  // namespace lora::models
