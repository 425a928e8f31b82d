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

/// A tensor of a module, with its dotted name.
struct Slot {
  std::string name;
  at::Tensor tensor;
  bool is_parameter = false;  ///< a parameter rather than a buffer
};

/// A module's forward() as a pure function: the graph's inputs are the arguments, followed by the slots that it reads.
struct Lowered {
  std::shared_ptr<torch::jit::Graph> graph;
  size_t num_arguments = 0;
  std::vector<Slot> slots;
};

/// Lowers forward() in training or evaluation mode (and leaves the module in it): calls are inlined, slots become inputs, other attributes
/// constants. Throws model Error naming `where` for a module that is not a pure function: one that changes itself or its own list or
/// dictionary, forks, calls through an interface or passes itself on.
Lowered lower(torch::jit::Module& module, const std::string& where, bool training);

/// Every tensor of the module under its name, whether forward() reads it or not. A tensor with two names is listed twice.
std::vector<Slot> all_slots(const torch::jit::Module& module);

}  // namespace lora::torchscript
