// N images, L rows of each, H heads of E channels, R pairs of channels, P patches.
#include "diffusion/image_rope.h"

#include <ATen/ATen.h>

namespace lora::diffusion {

namespace {

constexpr double kImageRopeTheta = 10000.0;

/// The angles of positions on one axis.
Tensor angles_of(const Tensor& positions_P, int64_t channels) {
  const Tensor exponents = at::arange(0, channels, 2, positions_P.options()) / static_cast<double>(channels);
  return at::outer(positions_P, 1.0 / at::pow(kImageRopeTheta, exponents));
}

}  // namespace

RotaryTables image_rope(const std::vector<int64_t>& axes, int64_t height, int64_t width, int64_t text_rows, at::Device device) {
  const at::TensorOptions doubles = at::TensorOptions(at::kDouble).device(device);
  const Tensor rows_P = at::arange(height, doubles).repeat_interleave(width), columns_P = at::arange(width, doubles).repeat({height});
  const Tensor patches_PR =
      at::cat({angles_of(at::zeros_like(rows_P), axes[0]), angles_of(rows_P, axes[1]), angles_of(columns_P, axes[2])}, 1);
  const Tensor angles_LR = at::constant_pad_nd(patches_PR, {0, 0, 0, text_rows});
  return {angles_LR.cos().to(at::kFloat), angles_LR.sin().to(at::kFloat)};
}

Tensor rotated(const Tensor& x_NLHE, const RotaryTables& rope) {
  if (!rope.cos_LR.defined()) {
    return x_NLHE;
  }
  const Tensor pairs = x_NLHE.to(at::kFloat).unflatten(-1, {-1, 2});
  const Tensor first = pairs.select(-1, 0), second = pairs.select(-1, 1);
  const Tensor cos = rope.cos_LR.unsqueeze(1), sin = rope.sin_LR.unsqueeze(1);
  return at::stack({first * cos - second * sin, second * cos + first * sin}, -1).flatten(-2).to(x_NLHE.scalar_type());
}

}  // namespace lora::diffusion
