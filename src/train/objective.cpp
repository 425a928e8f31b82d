#include "lora/train/objective.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/nn/device_graph.h"
#include "train/gradients.h"

namespace lora::train {

at::Tensor add_gradients_of(const at::Tensor& loss, double scale) {
  (loss * scale).backward();
  return loss.detach().to(at::kDouble);
}

at::Tensor Objective::add_gradients(const MicroBatch& batch, int64_t step, double scale) {
  return add_gradients_of(loss_sum(batch, step), scale);
}

std::vector<BatchSize> Objective::sizes_at_once(const std::vector<MicroBatch>& parts) const {
  std::vector<BatchSize> alone, beside;
  for (const MicroBatch& part : parts) {
    (runs_beside_others(part) ? beside : alone).push_back(size(part));
  }
  const auto is_larger = [](const BatchSize& a, const BatchSize& b) { return a.input > b.input; };
  std::stable_sort(beside.begin(), beside.end(), is_larger);
  BatchSize lanes{0, 0, std::min(kLanes, static_cast<int64_t>(beside.size()))};
  for (int64_t i = 0; i < lanes.lanes; ++i) {
    lanes.supervised += beside[i].supervised;
    lanes.input += beside[i].input;
  }
  if (!beside.empty()) {
    alone.push_back(lanes);
  }
  return alone;
}

void Objective::use_graphs(const std::vector<nn::Parameter>&, std::unique_ptr<nn::DeviceGraph>) {
  config_error("training.cuda_graphs", "found true, but only training.objective \"causal_lm\" supports CUDA graphs. Use false.");
}

}  // namespace lora::train
