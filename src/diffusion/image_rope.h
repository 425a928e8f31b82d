#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lora::diffusion {

using at::Tensor;

/// The angles by which a head's pairs of neighbouring channels are turned, [L, E / 2] in float32 for L rows and heads of E channels.
/// Undefined: nothing is turned.
struct RotaryTables {
  Tensor cos_LR, sin_LR;
};

/// Those of an image's patches and of the text that follows them (diffusers' FluxPosEmbed; Su et al. 2021 on several axes): a patch is at
/// (0, row, column), the text at (0, 0, 0), so that it is not turned.
/// @param axes channels of a head for each of the three axes, even numbers.
RotaryTables image_rope(const std::vector<int64_t>& axes, int64_t height, int64_t width, int64_t text_rows, at::Device device);

/// Queries or keys after that, computed in float32.
Tensor rotated(const Tensor& x_NLHE, const RotaryTables& rope);

}  // namespace lora::diffusion
