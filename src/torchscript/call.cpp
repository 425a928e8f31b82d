#include "call.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/custom_operator.h>

#include <algorithm>

#include "lora/base/random.h"

namespace lora::torchscript {

namespace {

using torch::jit::Node;
using torch::jit::Stack;
using torch::jit::Value;

/// An operation whose first two arguments are the context and a number, and what the call takes from behind them.
template <typename Call>
torch::jit::Operation operation(size_t num_arguments, const Call& call) {
  return [num_arguments, call](Stack& stack) {
    const std::vector<c10::IValue> arguments = torch::jit::pop(stack, num_arguments);
    const auto context = c10::static_intrusive_pointer_cast<CallContext>(arguments[0].toCapsule());
    try {
      torch::jit::push(stack, call(*context, arguments[1].toInt(), c10::ArrayRef<c10::IValue>(arguments).slice(2)));
    } catch (...) {
      context->error = std::current_exception();
      throw;
    }
  };
}

using Arguments = c10::ArrayRef<c10::IValue>;

/// The calls are operations of torch's interpreter, known to it from the first graph on.
void register_calls() {
  static const torch::jit::RegisterOperators kCalls(
      {torch::jit::Operator(
           "lora_train::project(Any context, int host, Tensor x, Tensor? bias) -> Tensor",
           operation(4, [](CallContext& context, int64_t host,
                           Arguments rest) { return context.project(host, rest[0].toTensor(), rest[1].toOptional<at::Tensor>()); }),
           c10::AliasAnalysisKind::FROM_SCHEMA),
       torch::jit::Operator(
           "lora_train::look_up(Any context, int host, Tensor ids) -> Tensor",
           operation(3, [](CallContext& context, int64_t host, Arguments rest) { return context.look_up(host, rest[0].toTensor()); }),
           c10::AliasAnalysisKind::FROM_SCHEMA)});
}

class Caller {
 public:
  Caller(Lowered& lowered, const Hosts& hosts) : lowered_(lowered), hosts_(hosts) {
    register_calls();
    context_ = lowered_.graph->addInput("context")->setType(c10::AnyType::get());
    const torch::jit::WithInsertPoint at_top(*lowered_.graph->nodes().begin());
    none_ = lowered_.graph->insertConstant(c10::IValue());
  }

  void change(const SlotUses& uses, const SlotPlan& plan) {
    if (plan.linear >= 0) {
      for (Node* site : uses.linear) {
        project(site, plan.linear, site->input(0), site->input(2));
      }
      for (Node* site : uses.conv1d) {
        project(site, plan.linear, site->input(1), site->input(0));
      }
    }
    if (plan.table >= 0) {
      for (Node* site : uses.tables) {
        replace(site, "lora_train::look_up", plan.table, {site->input(1)});
      }
    }
  }

 private:
  void project(Node* site, int64_t host, Value* x, Value* bias) {
    const bool has_own = dynamic_cast<const nn::Linear&>(*hosts_.all[host]).bias_in_use().has_value();
    replace(site, "lora_train::project", host, {x, has_own ? none_ : bias});
  }

  void replace(Node* site, const char* call, int64_t host, const std::vector<Value*>& arguments) {
    torch::jit::Graph& graph = *lowered_.graph;
    const torch::jit::WithInsertPoint before(site);
    std::vector<Value*> all{context_, graph.insertConstant(host)};
    all.insert(all.end(), arguments.begin(), arguments.end());
    Node* made = graph.insertNode(graph.create(c10::Symbol::fromQualString(call), all));
    site->output()->replaceAllUsesWith(made->output()->setType(c10::TensorType::get()));
    site->destroy();
  }

  Lowered& lowered_;
  const Hosts& hosts_;
  Value* context_;
  Value* none_;
};

}  // namespace

bool CallContext::has_a_row_a_token(const at::Tensor& x) const {
  return x.numel() == rows_.num_samples * rows_.length * x.size(-1);
}

bool CallContext::is_length_first(const at::Tensor& x) const {
  return x.dim() == 3 && x.size(0) == rows_.length && x.size(1) == rows_.num_samples && x.size(0) != x.size(1);
}

/// Rows of another kind (patches, pooled rows): each sample's are counted from 0, where they divide so.
at::Tensor CallContext::keys_by_sample(int64_t num_rows) const {
  const int64_t samples = rows_.num_samples;
  const int64_t per_sample = samples > 0 && num_rows % samples == 0 ? num_rows / samples : num_rows;
  const int64_t stride = samples > 0 ? std::max<int64_t>(rows_.keys.size(0) / samples, 1) : 1;
  const at::Tensor known = rows_.keys.cpu(), keys = at::empty({num_rows}, at::kLong);
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t sample_key = known.const_data_ptr<int64_t>()[row / per_sample * stride];
    keys.data_ptr<int64_t>()[row] = static_cast<int64_t>(mix64(static_cast<uint64_t>(sample_key), static_cast<uint64_t>(row % per_sample)));
  }
  return keys.to(rows_.keys.device());
}

nn::Pass CallContext::pass_of(const at::Tensor& x) {
  nn::Pass pass{pass_.batch, at::Tensor()};
  if (!rows_.keys.defined()) {
    return pass;
  }
  const int64_t num_rows = x.numel() / std::max<int64_t>(x.size(-1), 1);
  const bool turned = is_length_first(x);
  at::Tensor& keys = keys_[{num_rows, turned}];
  if (!keys.defined()) {
    keys = num_rows != rows_.keys.size(0) ? keys_by_sample(num_rows)
           : turned                       ? rows_.keys.view({rows_.num_samples, rows_.length}).t().reshape({-1})
                                          : rows_.keys;
  }
  pass.row_keys_T = keys;
  return pass;
}

/// Projections of one input are shown the same tensor; one whose rows are no tokens is not shown.
void CallContext::show(const nn::Linear& linear, const at::Tensor& x) {
  if (rows_.places.defined() && !has_a_row_a_token(x)) {
    return;
  }
  if (!shown_.is_same(x)) {
    const at::Tensor rows_RI = (is_length_first(x) ? x.transpose(0, 1) : x).reshape({-1, x.size(-1)});
    shown_ = x;
    shown_tokens_ = rows_.places.defined() ? rows_RI.index_select(0, rows_.places) : rows_RI;
  }
  pass_.observer->see(linear, shown_tokens_);
}

at::Tensor CallContext::project(int64_t host, const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  const auto& linear = dynamic_cast<const nn::Linear&>(*hosts_.all[host]);
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == linear.in_features(), "linear of '", linear.name(), "': found an input of ", x.sizes(),
              ", expected ", linear.in_features(), " features");
  if (pass_.observer != nullptr) {
    show(linear, x);
  }
  const bool is_untouched = linear.is_plain() && !linear.weight_in_use().requires_grad();
  if (!rows_.keys.defined() && is_untouched) {  // the very operation of the module, to the bit
    const std::optional<at::Tensor> added = bias ? bias : linear.bias_in_use();
    if (linear.layout() == nn::WeightLayout::kInOut && added) {
      return at::addmm(*added, x, linear.weight_in_use().t());
    }
    return at::linear(x, linear.weight_in_use(), added.value_or(at::Tensor()));
  }
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = linear.out_features();
  const at::Tensor y = linear.forward(x.reshape({-1, linear.in_features()}), pass_of(x)).view(sizes);
  return bias ? y + *bias : y;
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
