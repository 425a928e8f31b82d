#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace lora::ops {

using at::Tensor;

// Images are channels-last: [N, H, W, C], contiguous, so that a pixel is a row. N images, I input and O output channels, h and w sizes of
// a kernel.

/// How a kernel moves over an image, the same in both directions.
struct KernelSteps {
  int64_t stride = 1;
  int64_t padding = 0;  ///< rows and columns of zeros at each edge
};

/// The convolution of torch.nn.Conv2d with kernels [O, I, h, w] that are frozen; the bias may be trained. Backward computes the gradient
/// of the input alone, from the kernels alone: x is not kept.
Tensor frozen_conv2d(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O, const KernelSteps& steps);

/// The same with gradients of everything; keeps x.
Tensor conv2d(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O, const KernelSteps& steps);

/// The same as sums of shifted images: a product with [O, I] for each place of the kernel.
Tensor conv2d_reference(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O, const KernelSteps& steps);

/// The image in another size: each pixel is the nearest of x (torch's "nearest", without half-pixel offsets). Keeps nothing.
Tensor nearest_resize(const Tensor& x_NHWC, int64_t height, int64_t width);

/// The same by rows and columns.
Tensor nearest_resize_reference(const Tensor& x_NHWC, int64_t height, int64_t width);

}  // namespace lora::ops
