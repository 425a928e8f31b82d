#pragma once
#include <memory>
#include <vector>

#include "lora/optim/optimizer.h"

namespace lora::optim {

/// torch.optim.AdamW(fused=True).
std::unique_ptr<Optimizer> make_adamw(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters);

/// torch.optim.SGD without momentum.
std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters);

}  // namespace lora::optim
