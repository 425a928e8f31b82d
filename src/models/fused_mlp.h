#pragma once
#include <string>

#include "lora/nn/dropout.h"
#include "lora/ops/activation_kinds.h"
#include "models/blocks.h"

namespace lora::models {

struct FusedMlpOptions {
  nn::LinearShape in;   ///< hidden size → gate followed by up
  nn::LinearShape out;  ///< intermediate size → hidden size
  std::string in_name;  ///< names of the projections in the block
  std::string out_name;
  ops::Activation activation;
  double dropout = 0.0;  ///< of the input of `out`
};

/// out(act(gate) · up), with gate and up from one projection (Phi-3, ModernBERT).
class FusedMlp : public FeedForward {
 public:
  FusedMlp(const std::string& name, const FusedMlpOptions& mlp, io::WeightSource& source, const at::TensorOptions& options);

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override { return {&in_, &out_}; }
  nn::Kept kept() const override;
  int64_t width() const override { return out_.in_features(); }

 private:
  nn::Linear in_, out_;
  nn::Dropout dropout_;
  ops::Activation activation_;
};

}  // namespace lora::models
