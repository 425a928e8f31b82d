#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/parameter.h"
#include "lora/optim/options.h"

namespace lora::optim {

/// Updates parameters from their .grad. One entry a kind in the table of optimizer.cpp.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update with this learning rate (LoRA+: of its slowest group but the embeddings'). Gradients stay as they are.
  virtual void step(double learning_rate) = 0;
  /// What a checkpoint must hold, named "<parameter>.<state>", e.g. "….lora_A.weight.exp_avg".
  virtual std::vector<io::NamedTensor> state() const = 0;
  /// The inverse of state(). Throws model Error if a tensor is missing or has another shape.
  virtual void load_state(const io::SafetensorsFile& file) = 0;
};

/// AdamW: Loshchilov & Hutter 2019, equal to torch.optim.AdamW(fused=True). SGD: torch.optim.SGD without momentum.
/// Moments are kept in the parameter's dtype, as torch keeps them; a parameter without .grad is passed over, and its step
/// is not counted. With LoRA+, groups of parameters have learning rates of their own. Throws config Error if an option or
/// `learning_rate` (the highest of the schedule) is out of range, or if there are no parameters.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, std::vector<nn::Parameter> parameters, double learning_rate);

/// L2 norm over all gradients together; where it is above max_norm (> 0), every gradient is multiplied by
/// max_norm / (norm + 1e-6), as torch.nn.utils.clip_grad_norm_ does. Returns the norm before clipping,
/// also where it is infinite or NaN; 0 if no parameter has a gradient. For bfloat16 and float16 gradients the norm is
/// float32's, where torch rounds it to their dtype.
double clip_grad_norm(const std::vector<nn::Parameter>& parameters, double max_norm);

}  // namespace lora::optim
