// N images, P pixels of each, C channels, G groups, K chunks of pixels.
#include "lora/ops/group_norm.h"

#include <torch/csrc/autograd/custom_function.h>

#include "ops/cpu/launch.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Pixels that one task sums in float32; their sums are added in float64.
constexpr int64_t kChunk = 128;

at::ScalarType sum_type(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// A number for each group, as one for each of its channels.
Tensor by_channel(const Tensor& of_groups_NG, int64_t channels) {
  return of_groups_NG.repeat_interleave(channels / of_groups_NG.size(1), 1).contiguous();
}

/// The sum over the channels of each group.
Tensor by_group(const Tensor& of_channels_NC, int64_t groups) {
  return of_channels_NC.unflatten(1, {groups, of_channels_NC.size(1) / groups}).sum(2);
}

/// Calls run(image, first pixel, pixels, number of the chunk) for chunks of pixels of all images.
template <typename Run>
void for_each_chunk(const Tensor& x_NPC, const Run& run) {
  const int64_t pixels = x_NPC.size(1), chunks = (pixels + kChunk - 1) / kChunk;
  cpu::in_parallel(x_NPC.size(0) * chunks, kChunk * x_NPC.size(2), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % chunks * kChunk;
      run(i / chunks, first, std::min(kChunk, pixels - first), i);
    }
  });
}

/// Two sums for each image and channel, float64 [N, C], from sums of chunks: add(image, first, pixels, sum, other).
template <typename W, typename Add>
std::pair<Tensor, Tensor> sums_of_channels(const Tensor& x_NPC, const Add& add) {
  const int64_t chunks = (x_NPC.size(1) + kChunk - 1) / kChunk, channels = x_NPC.size(2);
  const Tensor parts = at::zeros({2, x_NPC.size(0), chunks, channels}, x_NPC.options().dtype(sum_type(x_NPC)));
  W* const sum = parts.data_ptr<W>();
  W* const other = sum + parts.stride(0);
  for_each_chunk(x_NPC, [&](int64_t image, int64_t first, int64_t pixels, int64_t chunk) {
    add(image, first, pixels, sum + chunk * channels, other + chunk * channels);
  });
  const Tensor sums = parts.sum(2, /*keepdim=*/false, at::kDouble);
  return {sums[0], sums[1]};
}

/// Mean and 1 / sqrt(variance + eps) of each group, [N, G].
struct Moments {
  Tensor mean_NG, rstd_NG;
};

/// The variance of a group from those of its channels and the distances of their means (Chan et al. 1979).
Moments moments_of(const Tensor& x_NPC, const GroupNormOptions& options) {
  const int64_t channels = x_NPC.size(2), image = x_NPC.stride(0);
  const auto count = static_cast<double>(x_NPC.size(1)), per_group = static_cast<double>(channels / options.groups);
  const Tensor shift_NC = x_NPC.select(1, 0).to(at::kDouble);
  std::pair<Tensor, Tensor> sums;
  cpu::with_element(x_NPC.scalar_type(), [&]<typename S>() {
    const S* const x = cpu::pointer<S>(x_NPC);
    sums = sums_of_channels<lora::Wide<S>>(x_NPC, [&](int64_t n, int64_t first, int64_t pixels, auto* sum, auto* square) {
      cpu::channel_sums(x + n * image + first * channels, x + n * image, sum, square, pixels, channels);
    });
  });
  const Tensor offset_NC = sums.first / count, mean_NC = shift_NC + offset_NC;
  const Tensor mean_NG = by_group(mean_NC, options.groups) / per_group;
  const Tensor within_NG = by_group(sums.second - sums.first * offset_NC, options.groups);
  const Tensor between_NG = by_group((mean_NC - by_channel(mean_NG, channels)).square(), options.groups) * count;
  const Tensor variance_NG = (within_NG + between_NG) / (count * per_group);
  const at::ScalarType wide = sum_type(x_NPC);
  return {mean_NG.to(wide), (variance_NG.clamp_min(0) + options.eps).rsqrt().to(wide)};
}

struct GroupNorm : torch::autograd::Function<GroupNorm> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NPC, const Tensor& weight_C, const Tensor& bias_C, int64_t groups, double eps,
                        bool silu) {
    const Moments moments = moments_of(x_NPC, {groups, eps, silu});
    ctx->save_for_backward({x_NPC, weight_C, bias_C, moments.mean_NG, moments.rstd_NG});
    ctx->saved_data["silu"] = silu;
    const int64_t channels = x_NPC.size(2), image = x_NPC.stride(0);
    const Tensor factor_NC = by_channel(moments.rstd_NG, channels) * weight_C;
    const Tensor addend_NC = bias_C - by_channel(moments.mean_NG, channels) * factor_NC;
    Tensor y_NPC = at::empty_like(x_NPC);
    cpu::with_element(x_NPC.scalar_type(), [&]<typename S>() {
      using W = lora::Wide<S>;
      const S* const x = cpu::pointer<S>(x_NPC);
      S* const y = cpu::pointer<S>(y_NPC);
      const W *const factor = factor_NC.template data_ptr<W>(), *const addend = addend_NC.template data_ptr<W>();
      for_each_chunk(x_NPC, [&](int64_t n, int64_t first, int64_t pixels, int64_t) {
        const int64_t at = n * image + first * channels;
        cpu::scaled_channels(x + at, factor + n * channels, addend + n * channels, y + at, pixels, channels, silu);
      });
    });
    return y_NPC;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x_NPC = saved[0], dy_NPC = grads[0].contiguous();
    const bool silu = ctx->saved_data["silu"].toBool();
    const int64_t channels = x_NPC.size(2), groups = saved[3].size(1), image = x_NPC.stride(0);
    const Tensor mean_NC = by_channel(saved[3], channels), rstd_NC = by_channel(saved[4], channels);
    Tensor dx_NPC = at::empty_like(x_NPC), dweight_C, dbias_C;
    cpu::with_element(x_NPC.scalar_type(), [&]<typename S>() {
      using W = lora::Wide<S>;
      const S *const x = cpu::pointer<S>(x_NPC), *const dy = cpu::pointer<S>(dy_NPC);
      S* const dx = cpu::pointer<S>(dx_NPC);
      const W *const mean = mean_NC.template data_ptr<W>(), *const rstd = rstd_NC.template data_ptr<W>();
      const W *const weight = saved[1].template data_ptr<W>(), *const bias = saved[2].template data_ptr<W>();
      const auto normed = [&](int64_t n) { return cpu::NormedChannels<S>{mean + n * channels, rstd + n * channels, weight, bias}; };
      const auto [du_NC, dux_NC] =
          sums_of_channels<W>(x_NPC, [&](int64_t n, int64_t first, int64_t pixels, W* du, W* dux) {
            const int64_t at = n * image + first * channels;
            cpu::channel_gradient_sums<S>(dy + at, x + at, normed(n), du, dux, pixels, channels, silu);
          });
      dweight_C = dux_NC.sum(0).to(saved[1].scalar_type());
      dbias_C = du_NC.sum(0).to(saved[2].scalar_type());
      const double count = static_cast<double>(x_NPC.size(1)) * static_cast<double>(channels / groups);
      const auto mean_of = [&](const Tensor& sums_NC) {
        return by_channel(by_group(sums_NC * saved[1], groups) / count, channels).to(sum_type(x_NPC));
      };
      const Tensor du_mean_NC = mean_of(du_NC), dux_mean_NC = mean_of(dux_NC);
      const W *const du_mean = du_mean_NC.template data_ptr<W>(), *const dux_mean = dux_mean_NC.template data_ptr<W>();
      for_each_chunk(x_NPC, [&](int64_t n, int64_t first, int64_t pixels, int64_t) {
        const int64_t at = n * image + first * channels;
        cpu::group_norm_gradient<S>(dy + at, x + at, normed(n), du_mean + n * channels, dux_mean + n * channels, dx + at, pixels, channels,
                                    silu);
      });
    });
    return {dx_NPC, dweight_C, dbias_C, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor group_norm(const Tensor& x, const Tensor& weight_C, const Tensor& bias_C, const GroupNormOptions& options) {
  if (!x.is_cpu()) {
    return group_norm_reference(x, weight_C, bias_C, options);
  }
  const at::ScalarType wide = sum_type(x);
  const Tensor x_NPC = x.contiguous().flatten(1, -2);
  return GroupNorm::apply(x_NPC, weight_C.to(wide), bias_C.to(wide), options.groups, options.eps, options.silu).view(x.sizes());
}

Tensor group_norm_reference(const Tensor& x, const Tensor& weight_C, const Tensor& bias_C, const GroupNormOptions& options) {
  const at::ScalarType wide = sum_type(x);
  const int64_t channels = x.size(-1);
  const Tensor x_NPGc = x.to(wide).reshape({x.size(0), -1, options.groups, channels / options.groups});
  const Tensor centred = x_NPGc - x_NPGc.mean({1, 3}, /*keepdim=*/true);
  const Tensor normed = centred * at::rsqrt(centred.square().mean({1, 3}, /*keepdim=*/true) + options.eps);
  const Tensor y = normed.reshape(x.sizes()) * weight_C.to(wide) + bias_C.to(wide);
  return (options.silu ? at::silu(y) : y).to(x.scalar_type());
}

}  // namespace lora::ops
