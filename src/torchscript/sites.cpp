#include "torchscript/sites.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace lora::torchscript {

namespace {

using torch::jit::Node;
using torch::jit::Use;
using torch::jit::Value;

template <size_t N>
bool is_one_of(const Node* node, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), std::string_view(node->kind().toQualString())) != names.end();
}

/// Operations that only read a tensor's shape and type.
bool reads_no_values(const Node* node) {
  static constexpr std::array<std::string_view, 9> kNames{
      "aten::size",   "aten::dim",    "aten::len", "prim::dtype", "prim::device", "aten::numel", "aten::is_floating_point",
      "prim::layout", "prim::is_cuda"};
  return is_one_of(node, kNames);
}

/// Operations whose result has the same numbers in another form.
bool passes_on(const Node* node) {
  static constexpr std::array<std::string_view, 20> kNames{
      "aten::t",      "aten::transpose",  "aten::permute", "aten::numpy_T", "aten::slice",      "aten::chunk",        "aten::unbind",
      "aten::select", "aten::to",         "aten::detach",  "aten::view",    "aten::reshape",    "aten::unsqueeze",    "aten::squeeze",
      "aten::expand", "aten::contiguous", "aten::alias",   "aten::type_as", "prim::ListUnpack", "prim::ListConstruct"};
  return is_one_of(node, kNames);
}

bool multiplies(const Node* node) {
  static constexpr std::array<std::string_view, 12> kNames{"aten::matmul",
                                                           "aten::mm",
                                                           "aten::bmm",
                                                           "aten::baddbmm",
                                                           "aten::einsum",
                                                           "aten::linear",
                                                           "aten::addmm",
                                                           "aten::tensordot",
                                                           "aten::inner",
                                                           "aten::_native_multi_head_attention",
                                                           "aten::_transformer_encoder_layer_fwd",
                                                           "aten::multi_head_attention_forward"};
  return is_one_of(node, kNames);
}

/// Whether `value` becomes a factor of a matrix product.
bool is_multiplied(const Value* value, int depth) {
  for (const Use& use : value->uses()) {
    if (multiplies(use.user)) {
      return true;
    }
    if (depth > 0 && passes_on(use.user)) {
      for (const Value* output : use.user->outputs()) {
        if (is_multiplied(output, depth - 1)) {
          return true;
        }
      }
    }
  }
  return false;
}

bool is_constant_one(const Value* value) {
  const std::optional<c10::IValue> constant = torch::jit::toIValue(value);
  return constant && constant->isScalar() && constant->toScalar().toDouble() == 1.0;
}

/// A convolution that a pair can be attached to: padding is given by numbers, and there is one group.
bool is_plain_convolution(const Node* node) {
  static constexpr std::array<std::string_view, 3> kNames{"aten::conv1d", "aten::conv2d", "aten::conv3d"};
  const bool is_general = node->kind() == c10::Symbol::fromQualString("aten::_convolution");
  if ((!is_general && !is_one_of(node, kNames)) || node->input(4)->type()->kind() != c10::TypeKind::ListType) {
    return false;
  }
  const std::optional<c10::IValue> groups = torch::jit::toIValue(node->input(is_general ? 8 : 6));
  const std::optional<c10::IValue> transposed = is_general ? torch::jit::toIValue(node->input(6)) : std::optional(c10::IValue(false));
  return groups && groups->isInt() && groups->toInt() == 1 && transposed && transposed->isBool() && !transposed->toBool();
}

/// The element of a tuple or the entry of a dictionary that `output` names, as in take_output; null if it is created elsewhere.
const Value* taken_from(const Value* result, const std::string& output) {
  const Node* node = result->node();
  const auto inputs = node->inputs();
  if (node->kind() == c10::prim::DictConstruct) {
    for (size_t i = 0; i + 1 < inputs.size(); i += 2) {
      const std::optional<c10::IValue> key = torch::jit::toIValue(inputs[i]);
      if (key && key->isString() && key->toStringRef() == output) {
        return inputs[i + 1];
      }
    }
    return nullptr;
  }
  if (node->kind() != c10::prim::TupleConstruct) {
    return result;
  }
  if (const auto& schema = result->type()->expect<c10::TupleType>()->schema()) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (schema->arguments()[i].name() == output) {
        return inputs[i];
      }
    }
  }
  const size_t index = output == "logits" ? 0 : std::strtoul(output.c_str(), nullptr, 10);
  return index < inputs.size() ? inputs[index] : nullptr;
}

void sort_in(const Use& use, SlotUses& uses) {
  const std::string_view kind = use.user->kind().toQualString();
  if (kind == "aten::linear" && use.offset == 1) {
    uses.linear.push_back(use.user);
  } else if (kind == "aten::addmm" && use.offset == 2 && is_constant_one(use.user->input(3)) && is_constant_one(use.user->input(4))) {
    uses.conv1d.push_back(use.user);
  } else if (use.offset == 1 && is_plain_convolution(use.user)) {
    uses.convolutions.push_back(use.user);
  } else if (kind == "aten::embedding" && use.offset == 0) {
    uses.tables.push_back(use.user);
  } else if (!reads_no_values(use.user)) {
    uses.others.emplace_back(kind);
  }
}

}  // namespace

std::vector<SlotUses> find_uses(const Lowered& lowered) {
  std::vector<SlotUses> all;
  for (size_t i = 0; i < lowered.slots.size(); ++i) {
    const Value* input = lowered.graph->inputs()[lowered.num_arguments + i];
    SlotUses uses;
    for (const Use& use : input->uses()) {
      sort_in(use, uses);
    }
    uses.is_multiplied = !uses.others.empty() && is_multiplied(input, 4);
    all.push_back(std::move(uses));
  }
  return all;
}

std::string module_of(const Node* site, const torch::jit::Module& module) {
  const std::optional<torch::jit::InlinedCallStackPtr> stack = site->callstack();
  if (!stack) {
    return "";
  }
  const std::optional<torch::jit::ModuleInstanceInfo> instance = std::get<2>((*stack)->vec().back());
  if (!instance || instance->class_type() == nullptr) {
    return "";
  }
  std::vector<std::string> candidates;
  for (const auto& named : module.named_modules()) {
    const std::string last = named.name.substr(named.name.rfind('.') + 1);
    if (last == instance->instance_name() && named.value.type() == instance->class_type()) {
      candidates.push_back(named.name);
    }
  }
  return candidates.size() == 1 ? candidates.front() : "";
}

int64_t slot_index(const Lowered& lowered, const Node* node, size_t input) {
  const Value* value = node->input(input);
  for (size_t i = 0; i < lowered.slots.size(); ++i) {
    if (lowered.graph->inputs()[lowered.num_arguments + i] == value) {
      return static_cast<int64_t>(i);
    }
  }
  return -1;
}

int64_t argument_index(const Lowered& lowered, const Node* node, size_t input) {
  const Value* value = node->input(input);
  while (passes_on(value->node()) || value->node()->kind() == c10::prim::unchecked_cast) {
    value = value->node()->input(0);
  }
  const auto inputs = lowered.graph->inputs().slice(0, lowered.num_arguments);
  const auto found = std::find(inputs.begin(), inputs.end(), value);
  return found == inputs.end() ? -1 : found - inputs.begin();
}

const Node* output_site(const Lowered& lowered, const std::string& output) {
  const Value* value = taken_from(lowered.graph->outputs()[0], output);
  while (value != nullptr) {
    const Node* node = value->node();
    const std::string_view kind = node->kind().toQualString();
    if (kind == "aten::linear" || kind == "aten::addmm") {
      return node;
    }
    value = passes_on(node) || kind == "aten::float" ? node->input(0) : nullptr;
  }
  return nullptr;
}

}  // namespace lora::torchscript
