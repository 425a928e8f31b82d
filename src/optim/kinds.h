#pragma once
#include <memory>
#include <vector>

#include "lora/optim/optimizer.h"
#include "optim/groups.h"

namespace lora::optim {

// One function per kind. `groups`: every parameter once, as group_parameters() returns them.

/// torch.optim.AdamW(fused=True).
std::unique_ptr<Optimizer> make_adamw(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

/// torch.optim.SGD without momentum.
std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

/// Lion (Chen et al. 2023).
std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

/// transformers.Adafactor(scale_parameter=False, relative_step=False).
std::unique_ptr<Optimizer> make_adafactor(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

/// bitsandbytes.optim.AdamW8bit.
std::unique_ptr<Optimizer> make_adamw_8bit(const OptimizerOptions& options, std::vector<ParameterGroup> groups);

}  // namespace lora::optim
