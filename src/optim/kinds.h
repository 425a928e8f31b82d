#pragma once
#include <memory>

#include "optim/grouped_optimizer.h"

namespace lora::optim {

// One function per kind.

/// torch.optim.AdamW(fused=True).
std::unique_ptr<Optimizer> make_adamw(OptimizerParts parts);

/// bitsandbytes.optim.AdamW with optim_bits 32 and 8.
std::unique_ptr<Optimizer> make_adamw_32bit(OptimizerParts parts);
std::unique_ptr<Optimizer> make_adamw_8bit(OptimizerParts parts);

/// torch.optim.SGD without momentum.
std::unique_ptr<Optimizer> make_sgd(OptimizerParts parts);

/// Lion (Chen et al. 2023) with its moment in the parameter's dtype, and as bitsandbytes.optim.Lion with optim_bits 32 and 8.
std::unique_ptr<Optimizer> make_lion(OptimizerParts parts);
std::unique_ptr<Optimizer> make_lion_32bit(OptimizerParts parts);
std::unique_ptr<Optimizer> make_lion_8bit(OptimizerParts parts);

/// transformers.Adafactor(scale_parameter=False, relative_step=False).
std::unique_ptr<Optimizer> make_adafactor(OptimizerParts parts);

/// peft.optimizers.lorafa.LoraFAOptimizer. The halves A of low-rank pairs no longer require gradients.
std::unique_ptr<Optimizer> make_lora_fa(OptimizerParts parts);

}  // namespace lora::optim
