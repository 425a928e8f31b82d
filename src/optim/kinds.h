#pragma once
#include <memory>
#include <vector>

#include "lora/optim/optimizer.h"
#include "optim/groups.h"

namespace lora::optim {

/// torch.optim.AdamW(fused=True). `groups`: every parameter once, as group_parameters() gives them.
std::unique_ptr<Optimizer> make_adamw(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

/// torch.optim.SGD without momentum.
std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

}  // namespace lora::optim
