#include "torchscript/lowering.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/fuse_linear.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <map>
#include <unordered_map>

#include "lora/base/error.h"

namespace lora::torchscript {

namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

/// An object in the module's tree that is a value in the graph.
struct TreeObject {
  c10::intrusive_ptr<c10::ivalue::Object> object;
  std::string name;  ///< "" for the module itself
};

std::string below(const std::string& name, const std::string& part) {
  return name.empty() ? part : name + "." + part;
}

class Lowering {
 public:
  Lowering(const torch::jit::Module& module, const std::string& where) : where_(where) {
    lowered_.graph = module.get_method("forward").graph()->copy();
    Graph& graph = *lowered_.graph;
    torch::jit::Inline(graph);
    torch::jit::FuseLinear(lowered_.graph);
    lowered_.num_arguments = graph.inputs().size() - 1;
    places_.emplace(graph.inputs()[0], TreeObject{module._ivalue(), ""});
  }

  Lowered run() {
    Graph& graph = *lowered_.graph;
    walk(graph.block());
    require_no_writers();
    for (auto node = dead_.rbegin(); node != dead_.rend(); ++node) {
      if (!(*node)->hasUses()) {
        (*node)->destroy();
      }
    }
    torch::jit::EliminateDeadCode(lowered_.graph);
    if (graph.inputs()[0]->hasUses()) {
      const Node& user = *graph.inputs()[0]->uses().front().user;
      refuse("passes itself to " + std::string(user.kind().toQualString()));
    }
    graph.eraseInput(0);
    graph.lint();
    return std::move(lowered_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    model_error(where_, "its forward is not a function of its inputs and weights only, so that no adapter can be inserted: it " + what +
                            ". Change the module, or export it again (scripts/export_torchscript.py).");
  }

  void walk(Block* block) {
    for (Node* node : block->nodes()) {
      visit(node);
      for (Block* inner : node->blocks()) {
        walk(inner);
      }
    }
  }

  void visit(Node* node) {
    switch (node->kind()) {
      case prim::GetAttr:
        read(node);
        break;
      case prim::SetAttr:
        if (places_.count(node->input(0)) > 0) {
          refuse("changes itself: it sets '" + below(places_.at(node->input(0)).name, node->s(torch::jit::attr::name)) + "'");
        }
        break;
      case prim::CallMethod:
        refuse("calls '" + node->s(torch::jit::attr::name) + "' of a module through an interface");
      case prim::fork:
        refuse("computes in parallel (torch.jit.fork)");
      default:
        break;
    }
  }

  /// Replaces the reading of an attribute: by another object of the tree, a tensor (a new input of the graph), or a constant.
  void read(Node* node) {
    const auto found = places_.find(node->input(0));
    if (found == places_.end()) {
      return;  // an object that forward() creates
    }
    const TreeObject place = found->second;
    const std::string part = node->s(torch::jit::attr::name);
    const std::string name = below(place.name, part);
    const size_t index = place.object->type()->getAttributeSlot(part);
    const c10::IValue value = place.object->getSlot(index);
    if (value.isObject() && value.type()->is_module()) {
      places_.emplace(node->output(), TreeObject{value.toObject(), name});
      return;
    }
    if (value.isTensor() && value.toTensor().defined()) {
      node->output()->replaceAllUsesWith(slot_input(place, index, name, value.toTensor()));
    } else {
      node->output()->replaceAllUsesWith(constant(value, name));
    }
    dead_.push_back(node);
  }

  Value* slot_input(const TreeObject& place, size_t index, const std::string& name, const at::Tensor& tensor) {
    Value*& input = inputs_[{place.object.get(), index}];
    if (input == nullptr) {
      input = lowered_.graph->addInput()->setType(c10::TensorType::get());
      lowered_.slots.push_back({name, tensor, place.object->type()->is_parameter(index)});
    }
    return input;
  }

  Value* constant(const c10::IValue& value, const std::string& name) {
    const torch::jit::WithInsertPoint at_top(*lowered_.graph->nodes().begin());
    const std::optional<Value*> inserted = torch::jit::tryInsertConstant(*lowered_.graph, value);
    if (!inserted) {
      refuse("reads its attribute '" + name + "' of type " + value.type()->repr_str());
    }
    if (value.isList() || value.isGenericDict()) {
      containers_.emplace_back(*inserted, name);
    }
    return *inserted;
  }

  /// A list or dictionary of the module becomes one constant for all calls, so that the next call would read what one call writes.
  void require_no_writers() const {
    if (containers_.empty()) {
      return;
    }
    const torch::jit::AliasDb aliases(lowered_.graph);
    for (const auto& [value, name] : containers_) {
      if (aliases.hasWriters(value)) {
        refuse("changes itself: it writes to its attribute '" + name + "'");
      }
    }
  }

  const std::string& where_;
  Lowered lowered_;
  std::unordered_map<const Value*, TreeObject> places_;
  std::map<std::pair<const void*, size_t>, Value*> inputs_;
  std::vector<Node*> dead_;
  std::vector<std::pair<const Value*, std::string>> containers_;  ///< attributes that are now constants but could be written to
};

void add_slots(const c10::intrusive_ptr<c10::ivalue::Object>& object, const std::string& name, std::vector<Slot>& slots) {
  const c10::ClassTypePtr type = object->type();
  for (size_t i = 0; i < type->numAttributes(); ++i) {
    const c10::IValue value = object->getSlot(i);
    const std::string own = below(name, type->getAttributeName(i));
    if (value.isTensor() && value.toTensor().defined()) {
      slots.push_back({own, value.toTensor(), type->is_parameter(i)});
    } else if (value.isObject() && value.type()->is_module()) {
      add_slots(value.toObject(), own, slots);
    }
  }
}

}  // namespace

Lowered lower(torch::jit::Module& module, const std::string& where, bool training) {
  for (torch::jit::Module part : module.modules()) {
    if (part.hasattr("training")) {  // a frozen module does not have it
      part.setattr("training", training);
    }
  }
  return Lowering(module, where).run();
}

std::vector<Slot> all_slots(const torch::jit::Module& module) {
  std::vector<Slot> slots;
  add_slots(module._ivalue(), "", slots);
  return slots;
}

}  // namespace lora::torchscript
