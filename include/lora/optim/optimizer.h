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
/// - Lion: Chen et al. 2023, algorithm 2, with decoupled weight decay; one moment, in the parameter's dtype. lion_32bit keeps it in
///   float32 and lion_8bit in 8 bits, equal to bitsandbytes.optim.Lion.
/// - Adafactor: Shazeer & Stern 2018, equal to transformers.Adafactor(scale_parameter=False, relative_step=False); moments
///   in float32; for a matrix only the means of its rows and columns.
/// - LoRA-FA: Zhang et al. 2023, equal to PEFT's LoraFAOptimizer in float32: A of each low-rank pair is not trained (requires_grad is set
///   to false), the gradient of B is multiplied by (A A^T)^-1 / scale^2, then AdamW with an epsilon that is not corrected for bias.
/// - 8-bit AdamW (and Lion): Dettmers et al. 2021, equal to bitsandbytes.optim.AdamW8bit except for rounding: moments in blocks of 256
///   codes of 8 bits with one float32 scale, or in float32 for parameters with fewer than 4096 elements. Codes are the nearest ones, as
///   bitsandbytes has them on GPUs; on the CPU it rounds to a table, in which 0 is not 0.
/// - paged_adamw_32bit: AdamW with moments in float32. On a GPU, moments of paged optimisers are in CUDA's managed memory.
///
/// With options.state_file, moments are in a mapped file, which lasts as long as the optimiser; the numbers are the same. Throws output
/// Error if it cannot be created or the disk has too little room, and config Error if parameters are on a GPU.
///
/// With options.weight_update, weights of bfloat16 (and float16, for master weights) are updated as the optimiser updates float32 weights,
/// with moments as of float32 weights and gradients converted to float32; others are updated as without it. Master weights are moments as
/// far as memory is concerned. Throws config Error if no trained weight has such a dtype.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, std::vector<nn::Parameter> parameters, double learning_rate);

/// Bytes of the state that make_optimizer() would allocate, by where they are.
struct StateSize {
  int64_t memory = 0;  ///< of the parameters' device
  int64_t file = 0;    ///< size of the mapped file
  int64_t paged = 0;   ///< in CUDA's managed memory, which moves to the host when the device's is full
  int64_t update = 0;  ///< not part of the state: what lasts for the update of one group (options.weight_update)
};
/// Throws config Error for a state file with parameters on a GPU.
StateSize state_size(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters);

/// L2 norm over all gradients together, in one pass; infinite or NaN if a gradient is; 0 if no parameter has a gradient. Unlike torch's,
/// it is not rounded to the dtype of bfloat16 and float16 gradients.
double grad_norm(const std::vector<nn::Parameter>& parameters);

/// The factor by which torch.nn.utils.clip_grad_norm_ multiplies gradients of this norm: max_norm / (norm + 1e-6) if that is below 1,
/// otherwise 1; NaN for a norm of NaN; 1 if max_norm is 0.
double clip_factor(double norm, double max_norm);

}  // namespace lora::optim
