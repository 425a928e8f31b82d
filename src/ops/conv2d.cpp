// N images, H and W their sizes, I inputs, O outputs, h and w sizes of a kernel.
#include "lora/ops/conv2d.h"

#include <torch/csrc/autograd/custom_function.h>

#include "lora/ops/linear_weight.h"
#include "ops/cpu/launch.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// As torch's convolution takes it: channels second, in the same memory.
Tensor channels_second(const Tensor& x_NHWC) {
  return x_NHWC.permute({0, 3, 1, 2});
}

Tensor channels_last(const Tensor& x_NCHW) {
  return x_NCHW.permute({0, 2, 3, 1}).contiguous();
}

/// The rows or columns at the end that no kernel reached, because the stride does not divide the size.
int64_t left_over(int64_t size, int64_t kernel, const KernelSteps& steps) {
  return (size + 2 * steps.padding - kernel) % steps.stride;
}

/// Up to this many pixels of the result a convolution is computed as a product: the library's own rearranges all kernels in every call,
/// which takes longer than a small convolution (on Zen 5 with 1280 channels: 5 times as long with 64 pixels, 1.6 with 256).
constexpr int64_t kFewPixels = 512;

cpu::PatchGrid patch_grid(at::IntArrayRef x_sizes, const Tensor& kernels_OIhw, const KernelSteps& steps) {
  const auto out = [&](int64_t size, int64_t kernel) { return (size + 2 * steps.padding - kernel) / steps.stride + 1; };
  const int64_t height = kernels_OIhw.size(2), width = kernels_OIhw.size(3);
  return {x_sizes[1], x_sizes[2], x_sizes[3], out(x_sizes[1], height), out(x_sizes[2], width), height, width, steps.stride, steps.padding};
}

/// Whether the product serves for this kind of tensor at all.
bool multiplies_patches(const Tensor& x, const Tensor& kernels_OIhw) {
  return x.is_cpu() && kernels_OIhw.is_contiguous() && kernels_OIhw.size(2) * kernels_OIhw.size(3) <= 64;
}

Tensor product_with_patches(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O,
                            const KernelSteps& steps) {
  const cpu::PatchGrid grid = patch_grid(x_NHWI.sizes(), kernels_OIhw, steps);
  const int64_t pixels = x_NHWI.size(0) * grid.out_height * grid.out_width;
  const DenseWeight weight(kernels_OIhw);
  const Tensor x = x_NHWI.contiguous(), patches = at::empty({pixels, weight.in_features()}, x.options());
  cpu::with_element(x.scalar_type(), [&]<typename S>() {
    cpu::in_parallel(pixels, patches.size(1), [&](int64_t begin, int64_t end) {
      cpu::take_patches(cpu::pointer<S>(x), cpu::pointer<S>(patches) + begin * patches.size(1), grid, begin, end);
    });
  });
  return weight.multiply(patches, bias_O).view({x.size(0), grid.out_height, grid.out_width, weight.out_features()});
}

Tensor gradient_of_patches(const Tensor& dy_NHWO, const Tensor& kernels_OIhw, at::IntArrayRef x_sizes, const KernelSteps& steps) {
  const cpu::PatchGrid grid = patch_grid(x_sizes, kernels_OIhw, steps);
  const Tensor dpatches = DenseWeight(kernels_OIhw).multiply_transposed(dy_NHWO.flatten(0, 2)).contiguous();
  const Tensor dx = at::empty(x_sizes, dy_NHWO.options());
  cpu::with_element(dx.scalar_type(), [&]<typename S>() {
    cpu::in_parallel(x_sizes[0] * grid.height * grid.width, dpatches.size(1), [&](int64_t begin, int64_t end) {
      cpu::add_patches(cpu::pointer<S>(dpatches), cpu::pointer<S>(dx), grid, begin, end);
    });
  });
  return dx;
}

/// The gradient of the input: a convolution with the kernels turned around, or its transpose.
Tensor gradient_of_input(const Tensor& dy_NHWO, const Tensor& kernels_OIhw, at::IntArrayRef x_sizes, const KernelSteps& steps) {
  const bool is_small = dy_NHWO.numel() / dy_NHWO.size(3) <= kFewPixels;
  if (multiplies_patches(dy_NHWO, kernels_OIhw) && (is_small || steps.stride > 1)) {
    return gradient_of_patches(dy_NHWO, kernels_OIhw, x_sizes, steps);
  }
  const int64_t edge = kernels_OIhw.size(2) - 1 - steps.padding;
  if (dy_NHWO.is_cpu() && steps.stride == 1 && kernels_OIhw.size(2) == kernels_OIhw.size(3) && edge >= 0) {
    return conv2d(dy_NHWO, kernels_OIhw.transpose(0, 1).flip({2, 3}).contiguous(), std::nullopt, KernelSteps{1, edge});
  }
  const std::vector<int64_t> more{left_over(x_sizes[1], kernels_OIhw.size(2), steps), left_over(x_sizes[2], kernels_OIhw.size(3), steps)};
  return channels_last(at::convolution(channels_second(dy_NHWO), kernels_OIhw, {}, {steps.stride, steps.stride},
                                       {steps.padding, steps.padding}, {1, 1}, /*transposed=*/true, more, 1));
}

struct FrozenConv2d : torch::autograd::Function<FrozenConv2d> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O,
                        int64_t stride, int64_t padding) {
    ctx->save_for_backward({kernels_OIhw});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    ctx->saved_data["sizes"] = x_NHWI.sizes().vec();
    ctx->saved_data["trains_bias"] = bias_O && bias_O->requires_grad();
    const KernelSteps steps{stride, padding};
    const cpu::PatchGrid grid = patch_grid(x_NHWI.sizes(), kernels_OIhw, steps);
    const bool is_small = x_NHWI.size(0) * grid.out_height * grid.out_width <= kFewPixels;
    return is_small && multiplies_patches(x_NHWI, kernels_OIhw) ? product_with_patches(x_NHWI, kernels_OIhw, bias_O, steps)
                                                                : conv2d(x_NHWI, kernels_OIhw, bias_O, steps);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor kernels_OIhw = ctx->get_saved_variables()[0], dy_NHWO = grads[0].contiguous();
    const KernelSteps steps{ctx->saved_data["stride"].toInt(), ctx->saved_data["padding"].toInt()};
    Tensor dx_NHWI, dbias_O;
    if (ctx->needs_input_grad(0)) {
      dx_NHWI = gradient_of_input(dy_NHWO, kernels_OIhw, ctx->saved_data["sizes"].toIntVector(), steps);
    }
    if (ctx->saved_data["trains_bias"].toBool()) {
      dbias_O = dy_NHWO.sum(at::IntArrayRef{0, 1, 2});
    }
    return {dx_NHWI, Tensor(), dbias_O, Tensor(), Tensor()};
  }
};

/// For each of `size` places the nearest one of `from`.
Tensor nearest_places(int64_t size, int64_t from, const Tensor& like) {
  return at::div(at::arange(size, like.options().dtype(at::kLong)) * from, size, "floor");
}

}  // namespace

Tensor frozen_conv2d(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O, const KernelSteps& steps) {
  TORCH_CHECK(!kernels_OIhw.requires_grad(), "frozen_conv2d: the kernels must be frozen");
  return FrozenConv2d::apply(x_NHWI, kernels_OIhw, bias_O, steps.stride, steps.padding);
}

Tensor conv2d(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O, const KernelSteps& steps) {
  return channels_last(at::convolution(channels_second(x_NHWI.contiguous()), kernels_OIhw, bias_O, {steps.stride, steps.stride},
                                       {steps.padding, steps.padding}, {1, 1}, /*transposed=*/false, {0, 0}, 1));
}

Tensor conv2d_reference(const Tensor& x_NHWI, const Tensor& kernels_OIhw, const std::optional<Tensor>& bias_O, const KernelSteps& steps) {
  const int64_t edge = steps.padding, stride = steps.stride;
  const Tensor padded = at::constant_pad_nd(x_NHWI, {0, 0, edge, edge, edge, edge});
  const int64_t height = (padded.size(1) - kernels_OIhw.size(2)) / stride + 1, width = (padded.size(2) - kernels_OIhw.size(3)) / stride + 1;
  Tensor y = bias_O ? *bias_O : at::zeros({kernels_OIhw.size(0)}, x_NHWI.options());
  for (int64_t i = 0; i < kernels_OIhw.size(2); ++i) {
    for (int64_t j = 0; j < kernels_OIhw.size(3); ++j) {
      const Tensor rows = padded.slice(1, i, i + (height - 1) * stride + 1, stride);
      const Tensor pixels = rows.slice(2, j, j + (width - 1) * stride + 1, stride);
      y = y + at::matmul(pixels, kernels_OIhw.select(3, j).select(2, i).t());
    }
  }
  return y;
}

Tensor nearest_resize(const Tensor& x_NHWC, int64_t height, int64_t width) {
  return channels_last(at::upsample_nearest2d(channels_second(x_NHWC.contiguous()), {height, width}));
}

Tensor nearest_resize_reference(const Tensor& x_NHWC, int64_t height, int64_t width) {
  const Tensor rows = x_NHWC.index_select(1, nearest_places(height, x_NHWC.size(1), x_NHWC));
  return rows.index_select(2, nearest_places(width, x_NHWC.size(2), x_NHWC));
}

}  // namespace lora::ops
