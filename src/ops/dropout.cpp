#include "lora/ops/dropout.h"

#include <torch/csrc/autograd/custom_function.h>

#include <type_traits>

#include "lora/base/random.h"
#include "lora/ops/parallel.h"
#include "ops/cuda_kernels.h"

namespace lora::ops {

namespace {

Tensor shift_right(const Tensor& x, int64_t bits) {
  return at::bitwise_and(at::bitwise_right_shift(x, bits), (int64_t{1} << (64 - bits)) - 1);
}

/// mix64 of base/random.h on a tensor; int64 arithmetic wraps around as uint64 does.
Tensor mix64_tensor(const Tensor& x) {
  Tensor y = x + static_cast<int64_t>(0x9e3779b97f4a7c15ULL);
  y = at::bitwise_xor(y, shift_right(y, 30)) * static_cast<int64_t>(0xbf58476d1ce4e5b9ULL);
  y = at::bitwise_xor(y, shift_right(y, 27)) * static_cast<int64_t>(0x94d049bb133111ebULL);
  return at::bitwise_xor(y, shift_right(y, 31));
}

/// The dtype that a product is computed in.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T>
void dropout_rows(const T* x, T* y, const int64_t* keys, int64_t begin, int64_t end, int64_t channels, const DropoutDraw& draw) {
  const uint32_t threshold = draw.threshold();
  const auto keep_scale = static_cast<Wide<T>>(draw.keep_scale());
  for (int64_t t = begin; t < end; ++t) {
    const uint64_t row = mix64(static_cast<uint64_t>(keys[t]) ^ draw.site_key);
    for (int64_t i = 0; i < channels; i += 2) {
      const uint64_t bits = mix64(row + static_cast<uint64_t>(i / 2));
      const int64_t at = t * channels + i;
      y[at] = static_cast<uint32_t>(bits) < threshold ? T(0) : static_cast<T>(static_cast<Wide<T>>(x[at]) * keep_scale);
      if (i + 1 < channels) {
        y[at + 1] = static_cast<uint32_t>(bits >> 32) < threshold ? T(0) : static_cast<T>(static_cast<Wide<T>>(x[at + 1]) * keep_scale);
      }
    }
  }
}

/// dropout() with its gradient: the same elements of dy.
struct Dropout : torch::autograd::Function<Dropout> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x_TI, const Tensor& row_keys_T, double p, int64_t site_key) {
    ctx->save_for_backward({row_keys_T});
    ctx->saved_data["p"] = p;
    ctx->saved_data["site_key"] = site_key;
    return dropout(x_TI, {row_keys_T, static_cast<uint64_t>(site_key), p});
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const DropoutDraw draw{ctx->get_saved_variables()[0], static_cast<uint64_t>(ctx->saved_data["site_key"].toInt()),
                           ctx->saved_data["p"].toDouble()};
    return {dropout(grads[0].contiguous(), draw), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor dropout_reference(const Tensor& x_TI, const DropoutDraw& draw) {
  const int64_t channels = x_TI.size(1);
  const Tensor rows_T = mix64_tensor(at::bitwise_xor(draw.row_keys_T, static_cast<int64_t>(draw.site_key)));
  const Tensor pairs_P = at::arange((channels + 1) / 2, rows_T.options());
  const Tensor bits_TP = mix64_tensor(rows_T.unsqueeze(1) + pairs_P);
  const Tensor low_TP = at::bitwise_and(bits_TP, int64_t{0xffffffff});
  const Tensor high_TP = shift_right(bits_TP, 32);
  const Tensor bits_TI = at::stack({low_TP, high_TP}, 2).flatten(1).slice(1, 0, channels);
  const double keep_scale = draw.keep_scale();
  const Tensor kept_TI =
      x_TI.scalar_type() == at::kDouble ? x_TI * keep_scale : (x_TI.to(at::kFloat) * static_cast<float>(keep_scale)).to(x_TI.scalar_type());
  return at::where(bits_TI < static_cast<int64_t>(draw.threshold()), at::zeros({}, kept_TI.options()), kept_TI);
}

Tensor dropout(const Tensor& x_TI, const DropoutDraw& draw) {
  if (const CudaKernels* kernels = cuda_kernels(x_TI)) {
    return dropout_cuda(*kernels, x_TI.contiguous(), draw);
  }
  if (!x_TI.is_cpu()) {
    return dropout_reference(x_TI, draw);
  }
  const Tensor x = x_TI.contiguous();
  const Tensor y = at::empty_like(x);
  const int64_t* keys = draw.row_keys_T.data_ptr<int64_t>();
  const int64_t channels = x.size(1);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "lora_dropout", [&] {
    const scalar_t* from = x.data_ptr<scalar_t>();
    scalar_t* to = y.data_ptr<scalar_t>();
    parallel_for(0, x.size(0), 64, [&](int64_t begin, int64_t end) { dropout_rows(from, to, keys, begin, end, channels, draw); });
  });
  return y;
}

Tensor place_keys(const Tensor& row_keys_N, int64_t places) {
  const Tensor places_P = mix64_tensor(at::arange(places, row_keys_N.options()));
  return mix64_tensor(at::bitwise_xor(row_keys_N.unsqueeze(1), places_P)).flatten();
}

Tensor differentiable_dropout(const Tensor& x_TI, const DropoutDraw& draw) {
  return draw.active() ? Dropout::apply(x_TI, draw.row_keys_T, draw.p, static_cast<int64_t>(draw.site_key)) : x_TI;
}

}  // namespace lora::ops
