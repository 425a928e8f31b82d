#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/nn/parameter.h"
#include "lora/optim/options.h"

namespace lora::optim {

/// Updates parameters from their .grad. The table of optimizer.cpp has one entry per kind.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update with this learning rate (with LoRA+, that of its slowest group other than embeddings) and with the gradients multiplied
  /// by `gradient_scale`, such as clip_factor(). On CUDA, the gradients may be scaled in place.
  void step(double learning_rate, double gradient_scale = 1.0);
  /// What a checkpoint must hold, named "<parameter>.<state>", e.g. "….lora_A.weight.exp_avg".
  virtual std::vector<io::NamedTensor> state() const = 0;
  /// The inverse of state(). Throws model Error if a tensor is missing or has another shape; then nothing is changed.
  void load_state(const io::SafetensorsFile& file);

 protected:
  /// step() of this kind of optimiser.
  virtual void update(double learning_rate, double gradient_scale) = 0;
};

/// A parameter without .grad is skipped, and its step is not counted. With LoRA+, groups of parameters have their own learning
/// rates. On the CPU the bits of an update do not depend on the number of threads, and AdamW and Lion need one pass over memory.
/// Throws config Error if an option or `learning_rate` (the highest of the schedule) is out of range, or if there are no parameters.
///
/// - AdamW: Loshchilov & Hutter 2019, equal to torch.optim.AdamW(fused=True); moments in the parameter's dtype.
/// - SGD: torch.optim.SGD without momentum.
/// - Lion: Chen et al. 2023, algorithm 2, with decoupled weight decay; one moment, in the parameter's dtype.
/// - Adafactor: Shazeer & Stern 2018, equal to transformers.Adafactor(scale_parameter=False, relative_step=False); moments
///   in float32; for a matrix only the means of its rows and columns.
/// - 8-bit AdamW: Dettmers et al. 2021, equal to bitsandbytes.optim.AdamW8bit except for rounding: moments in blocks of 256
///   codes of 8 bits with one float32 scale, or in float32 for parameters with fewer than 4096 elements.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, std::vector<nn::Parameter> parameters, double learning_rate);

/// Bytes of the state that make_optimizer() would allocate.
int64_t state_bytes(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters);

/// L2 norm over all gradients together, in one pass; infinite or NaN if a gradient is; 0 if no parameter has a gradient. Unlike torch's,
/// it is not rounded to the dtype of bfloat16 and float16 gradients.
double grad_norm(const std::vector<nn::Parameter>& parameters);

/// The factor by which torch.nn.utils.clip_grad_norm_ multiplies gradients of this norm: max_norm / (norm + 1e-6) if that is below 1,
/// otherwise 1; NaN for a norm of NaN; 1 if max_norm is 0.
double clip_factor(double norm, double max_norm);

}  // namespace lora::optim
