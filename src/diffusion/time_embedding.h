#pragma once
#include <string>
#include <vector>

#include "lora/nn/linear.h"

namespace lora::diffusion {

using at::Tensor;

/// How a number becomes channels.
struct Sinusoid {
  int64_t channels;
  bool cosine_first;
  double freq_shift;

  /// sin and cos of x / 10000^(i / (channels / 2 - freq_shift)) for each of x_N (diffusers' get_timestep_embedding; Vaswani et al. 2017,
  /// section 3.5): float32 [N, channels].
  Tensor of(const Tensor& x_N) const;
};

/// diffusers' TimestepEmbedding: linear_2(silu(linear_1(x))).
class TimeEmbedding {
 public:
  TimeEmbedding(const std::string& name, int64_t in, int64_t out, io::WeightSource& source, const at::TensorOptions& options);

  Tensor forward(const Tensor& x_NI, const nn::Pass& images) const;
  std::vector<nn::Host*> hosts() { return {&linear_1_, &linear_2_}; }

 private:
  nn::Linear linear_1_, linear_2_;
};

}  // namespace lora::diffusion
