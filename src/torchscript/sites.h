#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "torchscript/lowering.h"

namespace torch::jit {
struct Node;
}

namespace lora::torchscript {

/// How the graph uses the tensor of one slot.
struct SlotUses {
  std::vector<torch::jit::Node*> linear;  ///< aten::linear(x, W, b)
  std::vector<torch::jit::Node*> conv1d;  ///< aten::addmm(b, x, W): W is [in, out]
  /// aten::conv1d, conv2d, conv3d or _convolution(x, W, b, stride, padding, dilation, …) with one group, not transposed
  std::vector<torch::jit::Node*> convolutions;
  std::vector<torch::jit::Node*> tables;  ///< aten::embedding(W, ids)
  std::vector<std::string> others;        ///< names of the other operations that read its values
  bool is_multiplied = false;             ///< one of the others multiplies by it, as a matrix
};

/// The uses of each slot, in the order of lowered.slots.
std::vector<SlotUses> find_uses(const Lowered& lowered);

/// The module's name for a site whose slot has another name (a tied head in a trace), or "" if it is not known.
std::string module_of(const torch::jit::Node* site, const torch::jit::Module& module);

/// The index of the slot that this input of the node is, or -1.
int64_t slot_index(const Lowered& lowered, const torch::jit::Node* node, size_t input);

/// The index of the argument that an input of the node is, apart from casts and views, or -1.
int64_t argument_index(const Lowered& lowered, const torch::jit::Node* node, size_t input);

/// The linear or addmm site whose result, apart from casts and views, is this `output` of the network (see take_output); null if another
/// operation computes it.
const torch::jit::Node* output_site(const Lowered& lowered, const std::string& output);

}  // namespace lora::torchscript
