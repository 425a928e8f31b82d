#include "lora/train/objective.h"

#include <torch/torch.h>

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

void Objective::use_graphs(const std::vector<nn::Parameter>&, std::unique_ptr<nn::DeviceGraph>) {
  config_error("training.cuda_graphs", "found true, but only training.objective \"causal_lm\" has them. Use false");
}

}  // namespace lora::train
