#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/optim/options.h"

namespace lora::optim {

/// Where an optimiser keeps its moments. Counters, scales of blocks and other small tensors are always next to the parameters.
class StateMemory {
 public:
  virtual ~StateMemory() = default;
  /// Zeros of this dtype, with the shape, the memory order and the device of `parameter`.
  virtual at::Tensor zeros_like(const at::Tensor& parameter, at::ScalarType type) = 0;
  /// Called after the update of a group: none of the moments is needed for now.
  virtual void release() {}
};

/// The place that the options ask for.
enum class StatePlace {
  kMemory,  ///< of the parameters' device
  kFile,    ///< mapped (optim_state_file)
  kPaged,   ///< CUDA's managed memory, for a paged optimiser on a GPU
};

/// Throws config Error for a file with parameters on a GPU.
StatePlace state_place(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters);

/// Smaller tensors of a paged optimiser stay in the device's memory, as in bitsandbytes.
inline constexpr int64_t kSmallestPaged = 100'000;

/// Moments without memory (on the meta device), whose sizes are added up.
class CountedState : public StateMemory {
 public:
  at::Tensor zeros_like(const at::Tensor& parameter, at::ScalarType type) override;

  int64_t moment_bytes() const { return moment_bytes_; }
  int64_t file_bytes() const { return file_bytes_; }    ///< what a file of all moments holds: each begins at an aligned address
  int64_t paged_bytes() const { return paged_bytes_; }  ///< of moments with kSmallestPaged elements or more

 private:
  int64_t moment_bytes_ = 0;
  int64_t file_bytes_ = 0;
  int64_t paged_bytes_ = 0;
};

/// @param counted the moments that will be asked for
std::shared_ptr<StateMemory> make_state_memory(StatePlace place, const OptimizerOptions& options, const CountedState& counted);

/// Size of the file that holds these moments.
int64_t state_file_size(const CountedState& counted);

}  // namespace lora::optim
