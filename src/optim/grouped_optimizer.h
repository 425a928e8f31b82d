#pragma once
#include <memory>
#include <vector>

#include "lora/optim/optimizer.h"
#include "optim/groups.h"
#include "optim/state_memory.h"
#include "optim/wide_weights.h"

namespace lora::optim {

/// What an optimiser of any kind is made from.
struct OptimizerParts {
  OptimizerOptions options;
  std::vector<ParameterGroup> groups;  ///< every parameter once, as group_parameters() returns them
  std::shared_ptr<StateMemory> memory;
  std::shared_ptr<WideWeights> wide;  ///< the copies that are in `groups` instead of weights of half types; null: none are
};

/// An optimiser that updates one group of parameters after the other.
class GroupedOptimizer : public Optimizer {
 public:
  std::vector<io::NamedTensor> state() const final;

 protected:
  explicit GroupedOptimizer(OptimizerParts parts)
      : options_(std::move(parts.options)),
        groups_(std::move(parts.groups)),
        memory_(std::move(parts.memory)),
        wide_(std::move(parts.wide)) {}

  void update(double learning_rate, double gradient_scale) final;
  /// Updates those parameters of group `index` that have a gradient, at least one. Called without recording gradients.
  /// @param rate the group's learning rate
  virtual void update_group(size_t index, const Updates& updates, double rate, double gradient_scale) = 0;
  /// state() without what every kind has.
  virtual std::vector<io::NamedTensor> own_state() const = 0;

  OptimizerOptions options_;
  std::vector<ParameterGroup> groups_;
  std::shared_ptr<StateMemory> memory_;

 private:
  std::shared_ptr<WideWeights> wide_;
};

}  // namespace lora::optim
