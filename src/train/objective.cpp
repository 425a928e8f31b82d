#include "lora/train/objective.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/nn/device_graph.h"
#include "train/gradients.h"

namespace lora::train {

at::Tensor Objective::add_gradients(const MicroBatch& batch, int64_t step, double scale) {
  return add_gradients_of(loss_sum(batch, step), scale);
}

std::vector<BatchSize> Objective::sizes_at_once(const std::vector<MicroBatch>& parts) const {
  std::vector<BatchSize> sizes, side_by_side;
  for (const MicroBatch& part : parts) {
    (runs_alongside_others(part) ? side_by_side : sizes).push_back(size(part));
  }
  const auto is_larger = [](const BatchSize& a, const BatchSize& b) { return a.input > b.input; };
  std::stable_sort(side_by_side.begin(), side_by_side.end(), is_larger);
  BatchSize lanes{0, 0, std::min(kLanes, static_cast<int64_t>(side_by_side.size()))};
  for (int64_t i = 0; i < lanes.lanes; ++i) {
    lanes.supervised += side_by_side[i].supervised;
    lanes.input += side_by_side[i].input;
  }
  if (!side_by_side.empty()) {
    sizes.push_back(lanes);
  }
  return sizes;
}

void Objective::use_graphs(const std::vector<nn::Parameter>&, std::unique_ptr<nn::DeviceGraph>) {
  config_error("training.cuda_graphs", "found true, but only training.objective \"causal_lm\" supports CUDA graphs. Use false.");
}

}  // namespace lora::train
