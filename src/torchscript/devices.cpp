#include "torchscript/devices.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <set>

namespace lora::torchscript {

namespace {

using torch::jit::Block;
using torch::jit::Node;

class Settler {
 public:
  explicit Settler(at::Device device) : device_(device) {}

  void settle_code(Block* block) const {
    for (Node* node : block->nodes()) {
      if (node->kind() == c10::prim::Constant && node->hasAttribute(torch::jit::attr::value)) {
        settle_constant(node);
      } else if (node->kind() == c10::aten::device) {
        settle_text(node);
      }
      for (Block* inner : node->blocks()) {
        settle_code(inner);
      }
    }
  }

  /// The value with its devices replaced; containers and objects are changed in place.
  c10::IValue settled(c10::IValue value) {
    if (value.isDevice()) {
      return device_;
    }
    if (value.isTensor()) {
      move(value.toTensor());
    } else if (value.isList()) {
      c10::List<c10::IValue> list = value.toList();
      for (size_t i = 0; i < list.size(); ++i) {
        list.set(i, settled(list.get(i)));
      }
    } else if (value.isGenericDict()) {
      for (const auto& entry : value.toGenericDict()) {
        entry.setValue(settled(entry.value()));
      }
    } else if (value.isTuple()) {
      const auto tuple = value.toTuple();
      for (size_t i = 0; i < tuple->elements().size(); ++i) {
        tuple->unsafeSetElement(i, settled(tuple->elements()[i]));
      }
    } else if (value.isObject()) {
      settle_object(*value.toObject());
    }
    return value;
  }

  void settle_object(c10::ivalue::Object& object) {
    if (!seen_.insert(&object).second) {
      return;
    }
    for (size_t i = 0; i < object.slots().size(); ++i) {
      if (!object.getSlot(i).isTensor()) {
        object.setSlot(i, settled(object.getSlot(i)));
      }
    }
  }

 private:
  void move(const at::Tensor& tensor) const {
    if (tensor.defined() && tensor.device() != device_) {
      tensor.set_data(tensor.to(device_));
    }
  }

  void settle_constant(Node* node) const {
    namespace attr = torch::jit::attr;
    const bool is_device = node->output()->type()->kind() == c10::TypeKind::DeviceObjType;
    switch (node->kindOf(attr::value)) {
      case torch::jit::AttributeKind::s:
        if (is_device) {
          node->s_(attr::value, device_.str());
        }
        break;
      case torch::jit::AttributeKind::t:
        if (node->t(attr::value).dim() > 0) {  // scalars work with any device, and some are read as numbers
          node->t_(attr::value, node->t(attr::value).to(device_));
        }
        break;
      default:
        break;
    }
  }

  /// Replaces the text of a script's torch.device("cuda:0").
  void settle_text(Node* node) const {
    const torch::jit::WithInsertPoint before(node);
    torch::jit::Graph& graph = *node->owningGraph();
    const bool has_index = node->inputs().size() > 1;
    node->replaceInput(0, graph.insertConstant(has_index ? c10::DeviceTypeName(device_.type(), /*lower_case=*/true) : device_.str()));
    if (has_index) {
      node->replaceInput(1, graph.insertConstant(std::max<int64_t>(device_.index(), 0)));
    }
  }

  at::Device device_;
  std::set<const c10::ivalue::Object*> seen_;
};

}  // namespace

void settle_devices(torch::jit::Module& module, at::Device device) {
  Settler settler(device);
  for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    if (auto* with_graph = torch::jit::tryToGraphFunction(*function)) {
      settler.settle_code(with_graph->graph()->block());
    }
  }
  settler.settle_object(*module._ivalue());
}

}  // namespace lora::torchscript
