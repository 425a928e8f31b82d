// N numbers.
#include "diffusion/time_embedding.h"

#include <ATen/ATen.h>

#include <cmath>

namespace lora::diffusion {

Tensor Sinusoid::of(const Tensor& x_N) const {
  const int64_t half = channels / 2;
  const Tensor steps = at::arange(half, x_N.options().dtype(at::kFloat));
  const Tensor frequencies = (steps * -std::log(10000.0) / (static_cast<double>(half) - freq_shift)).exp();
  const Tensor angles = x_N.to(at::kFloat).unsqueeze(1) * frequencies;
  return cosine_first ? at::cat({angles.cos(), angles.sin()}, 1) : at::cat({angles.sin(), angles.cos()}, 1);
}

TimeEmbedding::TimeEmbedding(const std::string& name, int64_t in, int64_t out, io::WeightSource& source, const at::TensorOptions& options)
    : linear_1_(name + ".linear_1", {in, out, /*bias=*/true}, source, options),
      linear_2_(name + ".linear_2", {out, out, /*bias=*/true}, source, options) {}

Tensor TimeEmbedding::forward(const Tensor& x_NI, const nn::Pass& images) const {
  return linear_2_.forward(at::silu(linear_1_.forward(x_NI, images)), images);
}

}  // namespace lora::diffusion
