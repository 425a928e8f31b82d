#include "data/image_batches.h"

#include <cmath>
#include <map>

namespace lora::data {
namespace {

constexpr double kNothing = 1e-9;  // what rounding leaves of a sum of weights

}  // namespace

std::vector<Example> with_copies(std::vector<Example> images) {
  std::vector<Example> all;
  for (size_t first = 0; first < images.size();) {
    size_t end = first + 1;
    double weight = images[first].weight;
    for (; end < images.size() && images[end].is_form; ++end) {
      weight += images[end].weight;
    }
    for (double left = weight; left > kNothing || left == weight; left -= 1) {
      const double share = std::min(left, 1.0) / weight;
      for (size_t i = first; i < end; ++i) {
        all.push_back(images[i]);
        all.back().weight = images[i].weight * share;
        all.back().continues_row = images[i].continues_row || i > first || left < weight;
      }
    }
    first = end;
  }
  return all;
}

int64_t end_of_forms(const Dataset& dataset, int64_t first) {
  int64_t end = first + 1;
  while (end < static_cast<int64_t>(dataset.examples.size()) && dataset.examples[end].is_form) {
    ++end;
  }
  return end;
}

int64_t chosen_form(const Dataset& dataset, int64_t first, int64_t end, double draw) {
  double all = 0;
  for (int64_t i = first; i < end; ++i) {
    all += dataset.examples[i].weight;
  }
  double passed = 0;
  for (int64_t i = first; i + 1 < end; ++i) {
    passed += dataset.examples[i].weight;
    if (draw * all < passed) {
      return i;
    }
  }
  return end - 1;
}

std::vector<std::vector<int64_t>> join_by_size(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t count) {
  struct Open {
    int64_t begun;  ///< place of its first image, by which batches that stay open are ordered
    std::vector<int64_t> images;
  };
  std::map<std::pair<std::array<int64_t, 3>, std::array<int64_t, 2>>, Open> open;
  std::vector<std::vector<int64_t>> batches;
  for (size_t place = 0; place < indices.size(); ++place) {
    const ImageRow& image = *dataset.examples.at(static_cast<size_t>(indices[place])).image();
    Open& own = open[image.size()];
    own.begun = own.images.empty() ? static_cast<int64_t>(place) : own.begun;
    own.images.push_back(indices[place]);
    if (static_cast<int64_t>(own.images.size()) == count) {
      batches.push_back(std::move(own.images));
      own.images.clear();
    }
  }
  std::map<int64_t, std::vector<int64_t>> rest;
  for (auto& [size, own] : open) {
    if (!own.images.empty()) {
      rest.emplace(own.begun, std::move(own.images));
    }
  }
  for (auto& [begun, images] : rest) {
    batches.push_back(std::move(images));
  }
  return batches;
}

}  // namespace lora::data
