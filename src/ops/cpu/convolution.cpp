#include <algorithm>
#include <array>

#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

namespace {

/// A pixel by its image, row and column.
struct Pixel {
  int64_t image, row, column;
};

Pixel pixel_at(int64_t index, int64_t height, int64_t width) {
  return {index / (height * width), index / width % height, index % width};
}

}  // namespace

template <typename S>
void take_patches(const S* x, S* patches, const PatchGrid& g, int64_t begin, int64_t end) {
  const int64_t places = g.kernel_height * g.kernel_width, size = places * g.channels;
  for (int64_t p = begin; p < end; ++p) {
    const Pixel at = pixel_at(p, g.out_height, g.out_width);
    for (int64_t k = 0; k < places; ++k) {
      S* to = patches + (p - begin) * size + k;
      const int64_t row = at.row * g.stride - g.padding + k / g.kernel_width;
      const int64_t column = at.column * g.stride - g.padding + k % g.kernel_width;
      const bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
      const S* from = inside ? x + ((at.image * g.height + row) * g.width + column) * g.channels : nullptr;
      for (int64_t c = 0; c < g.channels; ++c) {
        to[c * places] = inside ? from[c] : S{};
      }
    }
  }
}

template <typename S>
void add_patches(const S* patches, S* x, const PatchGrid& g, int64_t begin, int64_t end) {
  const int64_t places = g.kernel_height * g.kernel_width, size = places * g.channels;
  constexpr int64_t kMostPlaces = 64;
  std::array<const S*, kMostPlaces> seen{};
  for (int64_t q = begin; q < end; ++q) {
    const Pixel at = pixel_at(q, g.height, g.width);
    int64_t count = 0;
    for (int64_t k = 0; k < places; ++k) {
      const int64_t row = at.row + g.padding - k / g.kernel_width, column = at.column + g.padding - k % g.kernel_width;
      const bool meets = row >= 0 && column >= 0 && row % g.stride == 0 && column % g.stride == 0 && row / g.stride < g.out_height &&
                         column / g.stride < g.out_width;
      if (meets) {
        const int64_t p = (at.image * g.out_height + row / g.stride) * g.out_width + column / g.stride;
        seen.at(static_cast<size_t>(count++)) = patches + p * size + k;
      }
    }
    for (int64_t c = 0; c < g.channels; ++c) {
      Wide<S> sum = 0;
      for (int64_t i = 0; i < count; ++i) {
        sum += widened(seen[static_cast<size_t>(i)][c * places]);
      }
      x[q * g.channels + c] = narrowed<S>(sum);
    }
  }
}

#define LORA_INSTANTIATE(S)                                                           \
  template void take_patches<S>(const S*, S*, const PatchGrid&, int64_t, int64_t); \
  template void add_patches<S>(const S*, S*, const PatchGrid&, int64_t, int64_t);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(double)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
