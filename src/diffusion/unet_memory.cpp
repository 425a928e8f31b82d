#include "diffusion/unet_memory.h"

#include <algorithm>
#include <cmath>

namespace lora::diffusion {

namespace {

constexpr int64_t kTextPositions = 77;  // of CLIP's texts

/// Adds up what layers take, in bytes of a place of the latents.
class MemorySum {
 public:
  MemorySum(at::ScalarType dtype, nn::Recompute recompute) : dtype_(dtype), recompute_(recompute) {}

  /// @param level how often the resolution was halved.
  void add(const UNetLayer& layer, size_t level) {
    const double share = std::pow(0.25, static_cast<double>(level));
    const int64_t channels = layer.resnet->in_channels();
    const bool recomputes = recompute_ >= nn::Recompute::kLayers;
    kept_ += share * bytes(recomputes ? nn::Kept{channels, 0} : layer.resnet->kept());
    // The input, the gradients of both branches and what a convolution rearranges; recomputed ones are kept for the time.
    const nn::Kept alive{4 * channels, 0};
    work(share * bytes(recomputes ? alive + layer.resnet->kept() : alive));
    forward_ += share * bytes({channels, 0});
    if (layer.attention != nullptr) {
      kept_ += share * bytes(layer.attention->kept(recompute_));
      work(share * bytes(layer.attention->working(recompute_)));
      of_text_ += recomputes ? 0.0 : bytes(layer.attention->kept_of_text());
    }
  }

  nn::PassMemory sum() const {
    nn::PassMemory memory;
    memory.kept = static_cast<int64_t>(std::ceil(kept_));
    memory.working = static_cast<int64_t>(std::ceil(working_));
    memory.forward = static_cast<int64_t>(std::ceil(forward_ + working_));
    memory.kept_per_document = static_cast<int64_t>(of_text_) * kTextPositions;
    return memory;
  }

 private:
  double bytes(const nn::Kept& kept) const { return static_cast<double>(kept.bytes(dtype_)); }
  void work(double needed) { working_ = std::max(working_, needed); }

  at::ScalarType dtype_;
  nn::Recompute recompute_;
  double kept_ = 0, working_ = 0, forward_ = 0, of_text_ = 0;
};

}  // namespace

nn::PassMemory unet_memory(const std::vector<UNetBlock>& down, const UNetBlock& mid, const std::vector<UNetBlock>& up, at::ScalarType dtype,
                           nn::Recompute recompute) {
  MemorySum sum(dtype, recompute);
  const size_t last = down.size() - 1;
  for (size_t i = 0; i <= last; ++i) {
    for (const UNetLayer& layer : down[i].layers) {
      sum.add(layer, i);
    }
    for (const UNetLayer& layer : up[i].layers) {
      sum.add(layer, last - i);
    }
  }
  for (const UNetLayer& layer : mid.layers) {
    sum.add(layer, last);
  }
  return sum.sum();
}

}  // namespace lora::diffusion
