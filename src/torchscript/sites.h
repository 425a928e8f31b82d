#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lowering.h"

namespace torch::jit {
struct Node;
}

namespace lora::torchscript {

/// What the graph does with the tensor of one slot.
struct SlotUses {
  std::vector<torch::jit::Node*> linear;  ///< aten::linear(x, W, b)
  std::vector<torch::jit::Node*> conv1d;  ///< aten::addmm(b, x, W): W is [in, out]
  std::vector<torch::jit::Node*> tables;  ///< aten::embedding(W, ids)
  std::vector<std::string> others;        ///< names of the operations that read it otherwise; its shape does not count
  bool is_multiplied = false;             ///< one of the others multiplies by it, as a matrix
};

/// The uses of each slot, in the order of lowered.slots.
std::vector<SlotUses> find_uses(const Lowered& lowered);

/// The module's own name for a site of a slot that is called otherwise (a tied head in a trace), or "" if it is not known.
std::string module_of(const torch::jit::Node* site, const torch::jit::Module& module);

/// The index of the slot that a value is, or -1.
int64_t slot_index(const Lowered& lowered, const torch::jit::Node* node, size_t input);

/// The argument whose values an input of the node is, but for casts and views, or -1.
int64_t argument_index(const Lowered& lowered, const torch::jit::Node* node, size_t input);

/// The linear or addmm site whose result, but for casts and views, is that `output` of the network (see take_output); null:
/// another operation makes it.
const torch::jit::Node* output_site(const Lowered& lowered, const std::string& output);

}  // namespace lora::torchscript
