#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/optim/options.h"
#include "optim/groups.h"
#include "optim/state_memory.h"

namespace lora::optim {

/// Float32 copies of the weights of half types, which an optimiser updates instead of the weights (OptimizerOptions::weight_update):
/// master weights, which are part of its state, or copies for one update that is then rounded stochastically. Gradients are copied too, one
/// group at a time.
class WideWeights {
 public:
  /// Replaces the tensors of half types in `groups` by their copies. Master weights are in `memory`. Throws config Error if there is
  /// nothing to replace, and for stochastic rounding of float16.
  WideWeights(const OptimizerOptions& options, std::vector<ParameterGroup>& groups, StateMemory& memory);

  /// Called before the groups of a step are updated.
  void begin_step();
  /// Before the update of a group: gives its copies their gradients, and their values if they are not kept.
  void load(size_t group);
  /// After the update of a group: rounds the copies to the weights, and frees what load() has made.
  void store(size_t group);
  void add_state(std::vector<io::NamedTensor>& tensors) const;

 private:
  struct WideWeight {
    std::string name;
    at::Tensor weight;
    at::Tensor copy;
  };

  bool is_kept() const { return options_.weight_update == WeightUpdate::kMasterWeights; }

  OptimizerOptions options_;
  std::vector<std::vector<WideWeight>> weights_;  ///< by group
  at::Tensor step_;                               ///< int64 scalar: steps that were rounded stochastically; undefined for master weights
};

/// Bytes that load() makes for the largest of these groups.
int64_t wide_update_bytes(const OptimizerOptions& options, const std::vector<ParameterGroup>& groups);

}  // namespace lora::optim
