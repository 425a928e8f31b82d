#include "ops/decoded_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>  // get_num_threads

#include <algorithm>

#include "lora/ops/parallel.h"
#include "ops/block_product.h"
#include "ops/cpu/attention_tiles.h"
#include "ops/cpu/decoded_tiles.h"
#include "ops/cpu/launch.h"

namespace lora::ops::cpu {

namespace {

/// A block of W takes part in products with up to kMostTokens tokens: kDepth terms of kWidth sums for each of them. Together with the
/// sums it fits into 1 MiB.
constexpr int64_t kDepth = 512;
constexpr int64_t kWidth = 256;
constexpr int64_t kMostTokens = 512;
/// The width of blocks is a multiple of this.
constexpr int64_t kWidthUnit = 32;
/// Rows of left matrices of kDepth elements begin this many more apart, so that they do not compete for the same lines of the cache.
constexpr int64_t kLeftStride = kDepth + 32;

/// Rows of activations: `count` tokens of `dim` elements, each `stride` after the one before.
struct Activations {
  const BFloat16* data;
  int64_t stride, count, dim;
};

int64_t padded(int64_t count) {
  return (count + kTile - 1) / kTile * kTile;
}

/// At most kDepth of `count` terms, a multiple of `unit` and of kTile: about equal parts. kDepth is a multiple of the unit.
int64_t depth_of(int64_t count, int64_t unit) {
  const int64_t step = std::max(unit, kTile), parts = (count + kDepth - 1) / kDepth, share = (count + parts - 1) / parts;
  return kDepth % step == 0 ? (share + step - 1) / step * step : kDepth;
}

/// Memory of a thread, which it keeps for the next product: the activations of all blocks, or what one block needs.
enum class Use { kActivations, kBlock };
template <Use use, typename Item>
Item* thread_memory(int64_t count) {
  thread_local Tensor bytes;
  const int64_t size = count * static_cast<int64_t>(sizeof(Item)) + 64;
  if (!bytes.defined() || bytes.numel() < size) {
    bytes.reset();  // before the larger one is allocated
    bytes = at::empty({size}, at::kByte);
  }
  return reinterpret_cast<Item*>((reinterpret_cast<uintptr_t>(bytes.mutable_data_ptr()) + 63) / 64 * 64);
}

/// Calls run(begin, count) for about equal parts of `tokens`.
template <typename Run>
void for_each_part(int64_t tokens, const Run& run) {
  const int64_t parts = (tokens + kMostTokens - 1) / kMostTokens, step = parts == 0 ? 0 : padded((tokens + parts - 1) / parts);
  for (int64_t begin = 0; begin < tokens; begin += step) {
    run(begin, std::min(step, tokens - begin));
  }
}

/// Calls run(begin, width) for blocks of rows or columns [0, count) of W, each on one thread. Threads get equally many.
template <typename Run>
void for_each_block(int64_t count, int64_t unit, const Run& run) {
  const int64_t threads = std::max<int64_t>(1, at::get_num_threads()), rounds = (count + threads * kWidth - 1) / (threads * kWidth);
  const int64_t share = (count + threads * rounds - 1) / (threads * rounds), width = std::min(kWidth, (share + unit - 1) / unit * unit);
  parallel_for(0, (count + width - 1) / width, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      run(block * width, std::min(width, count - block * width));
    }
    end_block_products();
  });
}

void forward_part(const io::PackedMatrix& matrix, const Activations& x, const BFloat16* bias, BFloat16* y) {
  const int64_t inputs = x.dim, outputs = matrix.out_features(), tokens = padded(x.count);
  // W is the left matrix, whose rows are as they are decoded, and the transpose of x the right one.
  auto* const right = thread_memory<Use::kActivations, BFloat16>(tokens * inputs);
  parallel_for(0, tokens / kTile, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first * kTile; t < last * kTile; t += kTile) {
      right_transposed_tile<BFloat16>({x.data + t * x.stride, x.stride, std::min(kTile, x.count - t), inputs}, right + t * inputs);
    }
  });
  for_each_block(outputs, kWidthUnit, [&](int64_t begin, int64_t rows) {
    auto* const sums = thread_memory<Use::kBlock, float>(kWidth * (tokens + kLeftStride / 2));
    auto* const left = reinterpret_cast<BFloat16*>(sums + kWidth * tokens);
    const int64_t step = depth_of(inputs, matrix.column_step());
    for (int64_t i = 0; i < inputs; i += step) {
      const int64_t depth = std::min(step, inputs - i);
      matrix.decode({begin, begin + rows, i, i + depth}, at::kBFloat16, left, kLeftStride);
      for (int64_t t = 0; t < tokens; t += kTile) {
        block_product(rows, kTile, depth, left, kLeftStride, right + t * inputs + i * kTile, sums + t * rows, i > 0);
      }
    }
    for (int64_t t = 0; t < x.count; t += kTile) {
      store_transposed(sums + t * rows, rows, std::min(kTile, x.count - t), bias == nullptr ? nullptr : bias + begin,
                       y + t * outputs + begin, outputs);
    }
  });
}

/// Rows of dy as left matrices of `step` columns each, with zeros to whole tiles.
void pack_gradients(const Activations& dy, int64_t step, BFloat16* left) {
  const int64_t tokens = padded(dy.count);
  parallel_for(0, tokens, kTile, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int64_t o = 0; o < dy.dim; o += step) {
        BFloat16* const to = left + (o / step * tokens + t) * kLeftStride;
        const int64_t count = t < dy.count ? std::min(step, dy.dim - o) : 0;
        std::copy_n(dy.data + t * dy.stride + o, count, to);
        std::fill(to + count, to + step, BFloat16{});
      }
    }
  });
}

void backward_part(const io::PackedMatrix& matrix, const Activations& dy, BFloat16* dx, int64_t dx_stride, bool add) {
  const int64_t outputs = dy.dim, step = depth_of(outputs, 1), tokens = padded(dy.count), left_size = tokens * kLeftStride;
  auto* const left = thread_memory<Use::kActivations, BFloat16>((outputs + step - 1) / step * left_size);
  pack_gradients(dy, step, left);
  for_each_block(matrix.in_features(), std::max(kWidthUnit, matrix.column_step()), [&](int64_t begin, int64_t columns) {
    auto* const sums = thread_memory<Use::kBlock, float>(kWidth * (tokens + (kDepth + kTile) / 2));
    auto* const right = reinterpret_cast<BFloat16*>(sums + kWidth * tokens);
    BFloat16* const decoded = right + kWidth * kDepth;
    const auto width_of = [columns](int64_t column) { return std::min(kTile, columns - column); };
    for (int64_t o = 0; o < outputs; o += step) {
      const int64_t depth = std::min(step, outputs - o);
      for (int64_t r = 0; r < depth; r += kTile) {
        const int64_t rows = std::min(kTile, depth - r);
        matrix.decode({o + r, o + r + rows, begin, begin + columns}, at::kBFloat16, decoded, columns);
        for (int64_t i = 0; i < columns; i += kTile) {
          right_tile<BFloat16>({decoded + i, columns, rows, width_of(i)}, right + i * kDepth + r * width_of(i));
        }
      }
      for (int64_t i = 0; i < columns; i += kTile) {
        block_product(tokens, width_of(i), padded(depth), left + o / step * left_size, kLeftStride, right + i * kDepth, sums + i * tokens,
                      o > 0);
      }
    }
    for (int64_t i = 0; i < columns; i += kTile) {
      store_rows(sums + i * tokens, dy.count, width_of(i), add, dx + begin + i, dx_stride);
    }
  });
}

Activations activations_of(const Tensor& x, int64_t begin, int64_t count) {
  return {pointer<BFloat16>(x) + begin * x.stride(0), x.stride(0), count, x.size(1)};
}

Tensor with_contiguous_rows(const Tensor& x) {
  return x.stride(1) == 1 ? x : x.contiguous();
}

}  // namespace

bool multiplies_decoded_blocks(const io::PackedMatrix& matrix, at::ScalarType dtype) {
  // An odd number of inputs has no pairs.
  return dtype == at::kBFloat16 && matrix.device().is_cpu() && matrix.in_features() % 2 == 0 && multiplies_bfloat16();
}

void multiply_decoded(const io::PackedMatrix& matrix, const Tensor& x_TI, const std::optional<Tensor>& bias_O, const Tensor& y_TO) {
  const Tensor x = with_contiguous_rows(x_TI), bias = bias_O ? bias_O->to(at::kBFloat16).contiguous() : Tensor();
  for_each_part(x.size(0), [&](int64_t begin, int64_t count) {
    forward_part(matrix, activations_of(x, begin, count), bias.defined() ? pointer<BFloat16>(bias) : nullptr,
                 pointer<BFloat16>(y_TO) + begin * y_TO.size(1));
  });
}

void multiply_decoded_transposed(const io::PackedMatrix& matrix, const Tensor& dy_TO, const Tensor& dx_TI, bool add) {
  const Tensor dy = with_contiguous_rows(dy_TO);
  for_each_part(dy.size(0), [&](int64_t begin, int64_t count) {
    backward_part(matrix, activations_of(dy, begin, count), pointer<BFloat16>(dx_TI) + begin * dx_TI.stride(0), dx_TI.stride(0), add);
  });
}

int64_t decoded_product_bytes(const io::PackedMatrix& matrix) {
  const int64_t forward = matrix.in_features(), backward = (matrix.out_features() + kDepth - 1) / kDepth * kLeftStride;
  const int64_t block = kWidth * (kMostTokens * 4 + (kDepth + kTile) * 2);
  return kMostTokens * std::max(forward, backward) * 2 + at::get_num_threads() * block;
}

}  // namespace lora::ops::cpu
