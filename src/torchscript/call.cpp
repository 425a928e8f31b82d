#include "call.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/custom_operator.h>

#include "lora/base/random.h"

namespace lora::torchscript {

namespace {

using torch::jit::Node;
using torch::jit::Stack;
using torch::jit::Value;

template <typename Call>
torch::jit::Operation operation(const Call& call) {
  return [call](Stack& stack) {
    const at::Tensor argument = torch::jit::pop(stack).toTensor();
    const int64_t host = torch::jit::pop(stack).toInt();
    const auto context = c10::static_intrusive_pointer_cast<CallContext>(torch::jit::pop(stack).toCapsule());
    try {
      torch::jit::push(stack, call(*context, host, argument));
    } catch (...) {
      context->error = std::current_exception();
      throw;
    }
  };
}

/// The calls are operations of torch's interpreter, known to it from the first graph on.
void register_calls() {
  static const torch::jit::RegisterOperators kCalls(
      {torch::jit::Operator("lora_train::project(Any context, int host, Tensor x) -> Tensor",
                            operation([](CallContext& context, int64_t host, const at::Tensor& x) { return context.project(host, x); }),
                            c10::AliasAnalysisKind::FROM_SCHEMA),
       torch::jit::Operator("lora_train::look_up(Any context, int host, Tensor ids) -> Tensor",
                            operation([](CallContext& context, int64_t host, const at::Tensor& ids) { return context.look_up(host, ids); }),
                            c10::AliasAnalysisKind::FROM_SCHEMA)});
}

class Caller {
 public:
  Caller(Lowered& lowered, const Hosts& hosts) : lowered_(lowered), hosts_(hosts) {
    register_calls();
    context_ = lowered_.graph->addInput("context")->setType(c10::AnyType::get());
  }

  void change(const SlotUses& uses, const SlotPlan& plan) {
    if (plan.linear >= 0) {
      const bool has_bias = dynamic_cast<const nn::Linear&>(*hosts_.all[plan.linear]).bias_in_use().has_value();
      for (Node* site : uses.linear) {
        replace(site, "lora_train::project", plan.linear, site->input(0), has_bias ? nullptr : site->input(2));
      }
      for (Node* site : uses.conv1d) {
        replace(site, "lora_train::project", plan.linear, site->input(1), has_bias ? nullptr : site->input(0));
      }
    }
    if (plan.table >= 0) {
      for (Node* site : uses.tables) {
        replace(site, "lora_train::look_up", plan.table, site->input(1), nullptr);
      }
    }
  }

 private:
  void replace(Node* site, const char* call, int64_t host, Value* argument, Value* bias) {
    torch::jit::Graph& graph = *lowered_.graph;
    const torch::jit::WithInsertPoint before(site);
    Value* number = graph.insertConstant(host);
    Node* made = graph.insertNode(graph.create(c10::Symbol::fromQualString(call), {context_, number, argument}));
    Value* result = made->output()->setType(c10::TensorType::get());
    if (bias != nullptr && !bias->mustBeNone()) {
      Value* one = graph.insertConstant(1);
      result = graph.insertNode(graph.create(c10::aten::add, {result, bias, one}))->output()->setType(c10::TensorType::get());
    }
    site->output()->replaceAllUsesWith(result);
    site->destroy();
  }

  Lowered& lowered_;
  const Hosts& hosts_;
  Value* context_;
};

}  // namespace

nn::Pass CallContext::pass_of(int64_t rows) {
  nn::Pass pass{pass_.batch, at::Tensor()};
  if (!row_keys_.defined()) {
    return pass;
  }
  at::Tensor& keys = keys_[rows];
  if (!keys.defined() && rows == row_keys_.size(0)) {
    keys = row_keys_;
  } else if (!keys.defined()) {
    // Rows of another kind (patches, pooled rows): each sample's are counted from 0, where they divide so.
    const int64_t per_sample = num_samples_ > 0 && rows % num_samples_ == 0 ? rows / num_samples_ : rows;
    const int64_t stride = num_samples_ > 0 ? std::max<int64_t>(row_keys_.size(0) / num_samples_, 1) : 1;
    const at::Tensor known = row_keys_.cpu();
    keys = at::empty({rows}, at::kLong);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t sample_key = known.const_data_ptr<int64_t>()[row / per_sample * stride];
      keys.data_ptr<int64_t>()[row] =
          static_cast<int64_t>(mix64(static_cast<uint64_t>(sample_key), static_cast<uint64_t>(row % per_sample)));
    }
    keys = keys.to(row_keys_.device());
  }
  pass.row_keys_T = keys;
  return pass;
}

at::Tensor CallContext::project(int64_t host, const at::Tensor& x) {
  const auto& linear = dynamic_cast<const nn::Linear&>(*hosts_.all[host]);
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == linear.in_features(), "linear of '", linear.name(), "': found an input of ", x.sizes(),
              ", expected ", linear.in_features(), " features");
  if (pass_.observer != nullptr) {
    const at::Tensor x_TI = x.reshape({-1, linear.in_features()});
    pass_.observer->see(linear, places_.defined() ? x_TI.index_select(0, places_) : x_TI);
  }
  const bool is_untouched = linear.is_plain() && !linear.weight_in_use().requires_grad();
  if (!row_keys_.defined() && is_untouched) {  // the very operation of the module, to the bit
    const std::optional<at::Tensor> bias = linear.bias_in_use();
    if (linear.layout() == nn::WeightLayout::kInOut && bias) {
      return at::addmm(*bias, x, linear.weight_in_use().t());
    }
    return at::linear(x, linear.weight_in_use(), bias.value_or(at::Tensor()));
  }
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = linear.out_features();
  const at::Tensor x_TI = x.reshape({-1, linear.in_features()});
  return linear.forward(x_TI, pass_of(x_TI.size(0))).view(sizes);
}

at::Tensor CallContext::look_up(int64_t host, const at::Tensor& ids) {
  const auto& table = dynamic_cast<const nn::Embedding&>(*hosts_.all[host]);
  std::vector<int64_t> sizes = ids.sizes().vec();
  sizes.push_back(table.dim());
  return table.forward(ids.reshape({-1})).view(sizes);
}

std::vector<Slot> call_hosts(Lowered& lowered, const Hosts& hosts) {
  const std::vector<SlotUses> uses = find_uses(lowered);
  Caller caller(lowered, hosts);
  for (size_t i = 0; i < uses.size(); ++i) {
    const auto plan = hosts.plans.find(lowered.slots[i].name);
    if (plan != hosts.plans.end()) {
      caller.change(uses[i], plan->second);
    }
  }
  std::vector<Slot> left;
  for (size_t i = lowered.slots.size(); i-- > 0;) {
    const size_t input = lowered.num_arguments + i;
    if (lowered.graph->inputs()[input]->hasUses()) {
      left.insert(left.begin(), lowered.slots[i]);
    } else {
      lowered.graph->eraseInput(input);
    }
  }
  lowered.slots = left;
  lowered.graph->lint();
  return left;
}

}  // namespace lora::torchscript
