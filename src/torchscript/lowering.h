#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace torch::jit {
struct Graph;
struct Module;
}  // namespace torch::jit

namespace lora::torchscript {

/// A tensor that a module holds, by its dotted name.
struct Slot {
  std::string name;
  at::Tensor tensor;
  bool is_parameter = false;  ///< not a buffer
};

/// A module's forward() as a pure function: the graph's inputs are the arguments and then the slots that it reads.
struct Lowered {
  std::shared_ptr<torch::jit::Graph> graph;
  size_t num_arguments = 0;
  std::vector<Slot> slots;
};

/// Lowers forward() as it is in training or in evaluation mode (the module is left in it): calls inlined, slots made inputs,
/// other attributes constants. Throws model Error naming `where` for a module that cannot be a pure function: one that changes
/// itself or a list or dictionary of its own, forks, calls through an interface or hands itself on.
Lowered lower(torch::jit::Module& module, const std::string& where, bool training);

/// Every tensor of the module under its name, whether forward() reads it or not; one that two names share stands twice.
std::vector<Slot> all_slots(const torch::jit::Module& module);

}  // namespace lora::torchscript
