// The separable resampling of Pillow. All sums of a pixel are integers, so their order does not matter.
#include "lora/image/resize.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lora::image {
namespace {

constexpr int kFractionBits = 22;

double sinc(double x) {
  x *= std::numbers::pi;
  return x == 0 ? 1.0 : std::sin(x) / x;
}

double lanczos(double x) {
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0.0;
}

/// Keys' cubic convolution with a = -0.5.
double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1) {
    return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * kA : 0.0;
}

double bilinear(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0.0;
}

struct Filter {
  double (*weight)(double);
  double support;  ///< beyond which the weight is 0
};

Filter filter_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBicubic:
      return {bicubic, 2};
    case Interpolation::kBilinear:
      return {bilinear, 1};
    case Interpolation::kLanczos:
      break;
  }
  return {lanczos, 3};
}

/// The source pixels of each pixel of one side, with their weights in fixed point.
struct Taps {
  struct Range {
    int64_t first;
    int64_t count;
  };
  std::vector<Range> ranges;
  std::vector<int32_t> weights;  ///< `stride` for each range
  int64_t stride;

  Taps(int64_t source, int64_t target, const Filter& filter) {
    const double scale = static_cast<double>(source) / static_cast<double>(target);
    const double filter_scale = std::max(scale, 1.0);
    const double support = filter.support * filter_scale;
    stride = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
    weights.resize(static_cast<size_t>(target * stride));
    std::vector<double> exact(static_cast<size_t>(stride));
    for (int64_t x = 0; x < target; ++x) {
      const double center = (static_cast<double>(x) + 0.5) * scale;
      const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
      const int64_t count = std::min(source, static_cast<int64_t>(center + support + 0.5)) - first;
      ranges.push_back({first, count});
      double sum = 0;
      for (int64_t i = 0; i < count; ++i) {
        exact[static_cast<size_t>(i)] = filter.weight((static_cast<double>(i + first) - center + 0.5) * (1.0 / filter_scale));
        sum += exact[static_cast<size_t>(i)];
      }
      for (int64_t i = 0; i < count; ++i) {
        const double weight = exact[static_cast<size_t>(i)] / (sum != 0 ? sum : 1) * (1 << kFractionBits);
        weights[static_cast<size_t>(x * stride + i)] = static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
      }
    }
  }
};

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

constexpr int32_t kHalf = 1 << (kFractionBits - 1);

Image resize_width(const Image& image, int64_t width, const Filter& filter) {
  const Taps taps(image.size.width, width, filter);
  Image result{{width, image.size.height}, std::vector<uint8_t>(static_cast<size_t>(width * image.size.height * 3))};
  uint8_t* target = result.rgb.data();
  for (int64_t y = 0; y < image.size.height; ++y) {
    const uint8_t* const row = image.rgb.data() + y * image.size.width * 3;
    for (int64_t x = 0; x < width; ++x, target += 3) {
      const auto [first, count] = taps.ranges[static_cast<size_t>(x)];
      const int32_t* const weights = taps.weights.data() + x * taps.stride;
      const uint8_t* const source = row + first * 3;
      int32_t red = kHalf;
      int32_t green = kHalf;
      int32_t blue = kHalf;
      for (int64_t i = 0; i < count; ++i) {
        red += source[i * 3] * weights[i];
        green += source[i * 3 + 1] * weights[i];
        blue += source[i * 3 + 2] * weights[i];
      }
      target[0] = rounded(red);
      target[1] = rounded(green);
      target[2] = rounded(blue);
    }
  }
  return result;
}

Image resize_height(const Image& image, int64_t height, const Filter& filter) {
  const Taps taps(image.size.height, height, filter);
  const int64_t row_size = image.size.width * 3;
  Image result{{image.size.width, height}, std::vector<uint8_t>(static_cast<size_t>(row_size * height))};
  std::vector<int32_t> sums(static_cast<size_t>(row_size));
  for (int64_t y = 0; y < height; ++y) {
    const auto [first, count] = taps.ranges[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* const row = image.rgb.data() + (first + i) * row_size;
      const int32_t weight = taps.weights[static_cast<size_t>(y * taps.stride + i)];
      for (int64_t x = 0; x < row_size; ++x) {
        sums[static_cast<size_t>(x)] += row[x] * weight;
      }
    }
    std::transform(sums.begin(), sums.end(), result.rgb.begin() + y * row_size, rounded);
  }
  return result;
}

}  // namespace

Image resize(const Image& image, Size size, Interpolation interpolation) {
  const Filter filter = filter_of(interpolation);
  const int64_t columns_less = image.size.width - size.width;
  const int64_t rows_less = image.size.height - size.height;
  if (rows_less > 0 && 2 * columns_less < rows_less) {  // Pillow's rule: the vertical pass leaves much less to do for the other
    const Image low = resize_height(image, size.height, filter);
    return columns_less == 0 ? low : resize_width(low, size.width, filter);
  }
  if (columns_less == 0) {
    return rows_less == 0 ? image : resize_height(image, size.height, filter);
  }
  Image wide = resize_width(image, size.width, filter);
  return rows_less == 0 ? wide : resize_height(wide, size.height, filter);
}

}  // namespace lora::image
