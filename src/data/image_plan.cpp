#include "data/image_plan.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "lora/base/error.h"
#include "lora/base/random.h"

namespace lora::data {
namespace {

using image::Size;

double aspect(Size size) {
  return static_cast<double>(size.width) / static_cast<double>(size.height);
}

/// Rounds half up, as Python's int(x + 0.5).
int64_t nearest(double x) {
  return static_cast<int64_t>(x + 0.5);
}

int64_t multiple_near(double x, int64_t step) {
  const int64_t whole = nearest(x);
  return whole - whole % step;
}

/// Half of what is left over, rounded to even as torchvision's CenterCrop rounds it.
int64_t half_to_even(int64_t rest) {
  const int64_t half = rest / 2;
  return rest % 2 == 0 ? half : half + half % 2;
}

}  // namespace

std::vector<Size> bucket_sizes(Size resolution, const BucketOptions& options) {
  const int64_t area = resolution.pixels();
  std::set<std::pair<int64_t, int64_t>> sizes;
  const auto square = static_cast<int64_t>(std::sqrt(static_cast<double>(area)) / static_cast<double>(options.step)) * options.step;
  sizes.emplace(square, square);
  for (int64_t width = options.min; width <= options.max; width += options.step) {
    const int64_t height = std::min(options.max, area / width / options.step * options.step);
    if (height >= options.min) {
      sizes.emplace(width, height);
      sizes.emplace(height, width);
    }
  }
  std::vector<Size> sorted;
  for (const auto& [width, height] : sizes) {
    sorted.push_back({width, height});
  }
  return sorted;
}

ImagePlanner::ImagePlanner(const ImageOptions& options, Size default_resolution, int64_t side_multiple)
    : options_(options), resolution_(options.resolution.value_or(default_resolution)) {
  const auto require = [side_multiple](const std::string& key, int64_t value) {
    if (value <= 0 || value % side_multiple != 0) {
      config_error("data." + key, "found " + std::to_string(value) + ", expected a multiple of " + std::to_string(side_multiple) +
                                      ", by which the model's VAE divides the sides of an image");
    }
  };
  require("resolution", resolution_.width);
  require("resolution", resolution_.height);
  if (options_.buckets.enabled) {
    require("buckets.step", options_.buckets.step);
    require("buckets.min", options_.buckets.min);
    require("buckets.max", options_.buckets.max);
    if (resolution_.width < options_.buckets.step || resolution_.height < options_.buckets.step) {
      config_error("data.buckets.step", "found " + std::to_string(options_.buckets.step) + " with the resolution " + resolution_.text() +
                                            ", expected at most its sides");
    }
    buckets_ = bucket_sizes(resolution_, options_.buckets);
  }
}

ImagePlan ImagePlanner::plan(Size original, uint64_t key, const std::string& name) const {
  ImagePlan plan;
  if (!options_.buckets.enabled) {
    plan = covering(original, resolution_);
  } else if (options_.buckets.upscale) {
    plan = in_bucket(original);
  } else {
    plan = without_upscale(original, name);
  }
  const int64_t columns = plan.resized.width - plan.size.width;
  const int64_t rows = plan.resized.height - plan.size.height;
  if (!options_.center_crop) {
    CounterRandom random(mix64(key, hash_name("crop")));
    plan.left = static_cast<int64_t>(random.below(static_cast<uint64_t>(columns) + 1));
    plan.top = static_cast<int64_t>(random.below(static_cast<uint64_t>(rows) + 1));
  } else {
    plan.left = options_.buckets.enabled ? columns / 2 : half_to_even(columns);
    plan.top = options_.buckets.enabled ? rows / 2 : half_to_even(rows);
  }
  return plan;
}

/// As torchvision's Resize: the longer side is rounded down.
ImagePlan ImagePlanner::covering(Size original, Size size) const {
  ImagePlan plan;
  plan.size = size;
  if (size.width * original.height >= size.height * original.width) {  // the width decides
    plan.resized = {size.width, size.width * original.height / original.width};
  } else {
    plan.resized = {size.height * original.width / original.height, size.height};
  }
  return plan;
}

ImagePlan ImagePlanner::in_bucket(Size original) const {
  const double ratio = aspect(original);
  ImagePlan plan;
  if (std::find(buckets_.begin(), buckets_.end(), original) != buckets_.end()) {
    plan.size = original;
  } else {
    const auto difference = [ratio](Size size) { return std::abs(aspect(size) - ratio); };
    plan.size = *std::min_element(buckets_.begin(), buckets_.end(), [&](Size a, Size b) { return difference(a) < difference(b); });
  }
  const bool is_wider = ratio > aspect(plan.size);
  const double scale = is_wider ? static_cast<double>(plan.size.height) / static_cast<double>(original.height)
                                : static_cast<double>(plan.size.width) / static_cast<double>(original.width);
  plan.resized = {nearest(static_cast<double>(original.width) * scale), nearest(static_cast<double>(original.height) * scale)};
  return plan;
}

ImagePlan ImagePlanner::without_upscale(Size original, const std::string& name) const {
  const int64_t step = options_.buckets.step;
  ImagePlan plan;
  plan.resized = original;
  if (original.pixels() > resolution_.pixels()) {
    const double ratio = aspect(original);
    const double width = std::sqrt(static_cast<double>(resolution_.pixels()) * ratio);
    const double height = static_cast<double>(resolution_.pixels()) / width;
    const int64_t by_width = std::max(step, multiple_near(width, step));
    const int64_t by_height = std::max(step, multiple_near(height, step));
    const Size first{by_width, std::max(step, multiple_near(static_cast<double>(by_width) / ratio, step))};
    const Size second{std::max(step, multiple_near(static_cast<double>(by_height) * ratio, step)), by_height};
    plan.resized = std::abs(aspect(first) - ratio) < std::abs(aspect(second) - ratio)
                       ? Size{by_width, nearest(static_cast<double>(by_width) / ratio)}
                       : Size{nearest(static_cast<double>(by_height) * ratio), by_height};
  }
  plan.size = {plan.resized.width - plan.resized.width % step, plan.resized.height - plan.resized.height % step};
  if (plan.size.width == 0 || plan.size.height == 0) {
    data_error(name, "the image is too small: found " + original.text() + " pixels, expected at least " + std::to_string(step) +
                         " a side after a reduction to the area of " + resolution_.text() +
                         ". Remove it, or set data.buckets.upscale to true.");
  }
  return plan;
}

}  // namespace lora::data
