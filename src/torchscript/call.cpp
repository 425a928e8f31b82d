#include "torchscript/call.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/custom_operator.h>

#include "lora/base/random.h"
#include "lora/ops/dropout.h"

namespace lora::torchscript {

namespace {

using torch::jit::Node;
using torch::jit::Stack;
using torch::jit::Value;

/// An operation whose first two arguments are the context and a number; `call` gets the arguments after them.
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

/// Registers the calls as operations of torch's interpreter, once.
void register_calls() {
  static const torch::jit::RegisterOperators kCalls(
      {torch::jit::Operator(
           "lora_train::project(Any context, int host, Tensor x, Tensor? bias) -> Tensor",
           operation(4, [](CallContext& context, int64_t host,
                           Arguments rest) { return context.project(host, rest[0].toTensor(), rest[1].toOptional<at::Tensor>()); }),
           c10::AliasAnalysisKind::FROM_SCHEMA),
       torch::jit::Operator("lora_train::convolve(Any context, int host, Tensor x, Tensor? bias, int[] stride, int[] padding, int[] "
                            "dilation) -> Tensor",
                            operation(7,
                                      [](CallContext& context, int64_t host, Arguments rest) {
                                        return context.convolve(
                                            host, rest[0].toTensor(), rest[1].toOptional<at::Tensor>(),
                                            {rest[2].toIntVector(), rest[3].toIntVector(), rest[4].toIntVector()});
                                      }),
                            c10::AliasAnalysisKind::FROM_SCHEMA),
       torch::jit::Operator(
           "lora_train::look_up(Any context, int host, Tensor ids) -> Tensor",
           operation(3, [](CallContext& context, int64_t host, Arguments rest) { return context.look_up(host, rest[0].toTensor()); }),
           c10::AliasAnalysisKind::FROM_SCHEMA),
       torch::jit::Operator("lora_train::dropout(Any context, int site, Tensor x, float p, bool train) -> Tensor",
                            operation(5,
                                      [](CallContext& context, int64_t site, Arguments rest) {
                                        const at::Tensor x = rest[0].toTensor();
                                        return rest[2].toBool() ? context.dropout(site, x, rest[1].toDouble()) : x;
                                      }),
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
    if (plan.convolution >= 0) {
      for (Node* site : uses.convolutions) {
        const auto& host = dynamic_cast<const ConvolutionHost&>(*hosts_.all[plan.convolution]);
        Value* const bias = host.bias_in_use() ? none_ : site->input(2);
        replace(site, "lora_train::convolve", plan.convolution,
                {site->input(0), bias, site->input(3), site->input(4), site->input(5)});
      }
    }
    if (plan.table >= 0) {
      for (Node* site : uses.tables) {
        replace(site, "lora_train::look_up", plan.table, {site->input(1)});
      }
    }
  }

  /// Replaces every dropout of the base model by one that draws by row keys.
  void change_dropouts(torch::jit::Block* block) {
    for (auto node = block->nodes().begin(); node != block->nodes().end();) {
      Node* site = *node++;
      for (torch::jit::Block* inner : site->blocks()) {
        change_dropouts(inner);
      }
      if (site->kind() == c10::aten::dropout) {
        replace(site, "lora_train::dropout", num_dropouts_++, {site->input(0), site->input(1), site->input(2)});
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
  int64_t num_dropouts_ = 0;
};

}  // namespace

at::Tensor CallContext::keys_of(int64_t call, const at::Tensor& x) {
  if (rows_.call_sizes != nullptr) {
    (*rows_.call_sizes)[call] = x.sizes().slice(0, x.dim() - 1).vec();
  }
  return keys_.of(x, hosts_.documents_second.count(call) > 0);
}

nn::Pass CallContext::pass_of(int64_t call, const at::Tensor& x) {
  return pass_.of_rows(keys_.defined() ? keys_of(call, x) : at::Tensor());
}

/// Shows the observer the same tensor for all projections of one input. Inputs whose rows are not tokens are not shown.
void CallContext::show(const nn::Linear& linear, const at::Tensor& x, bool documents_second) {
  const RowOrder order = row_order(x, rows_.num_samples, rows_.length, documents_second);
  const bool has_a_row_a_token = x.numel() == rows_.num_samples * rows_.length * x.size(-1);
  const bool is_of_tokens = order != RowOrder::kOther && order != RowOrder::kPlacesFirst && has_a_row_a_token;
  if (rows_.places.defined() && !is_of_tokens) {
    return;
  }
  if (!shown_.is_same(x)) {
    const at::Tensor rows_RI = (order == RowOrder::kLengthFirst ? x.transpose(0, 1) : x).reshape({-1, x.size(-1)});
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
    show(linear, x, hosts_.documents_second.count(host) > 0);
  }
  const bool is_untouched = linear.is_plain() && !linear.matrix_in_use()->requires_grad();
  if (!keys_.defined() && is_untouched) {  // exactly the module's own operation, for equal bits
    const std::optional<at::Tensor> added = bias ? bias : linear.bias_in_use();
    if (linear.layout() == nn::WeightLayout::kInOut && added) {
      return at::addmm(*added, x, linear.weight_in_use().t());
    }
    return at::linear(x, linear.weight_in_use(), added.value_or(at::Tensor()));
  }
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = linear.out_features();
  const at::Tensor y = linear.forward(x.reshape({-1, linear.in_features()}), pass_of(host, x)).view(sizes);
  return bias ? y + *bias : y;
}

at::Tensor CallContext::convolve(int64_t host, const at::Tensor& x, const std::optional<at::Tensor>& bias, const KernelMoves& moves) {
  const auto& convolution = dynamic_cast<const ConvolutionHost&>(*hosts_.all[host]);
  const at::Tensor kernels = convolution.matrix()->tensor();
  TORCH_CHECK(x.dim() == kernels.dim() && x.size(1) == kernels.size(1), convolution.kind(), " of '", convolution.name(),
              "': found an input of ", x.sizes(), ", expected [N, ", kernels.size(1), ", ...] with ", kernels.dim() - 2, " axes of places");
  return convolution.forward(x, bias ? bias : convolution.bias_in_use(), moves, pass_of(host, x.movedim(1, -1)));
}

at::Tensor CallContext::dropout(int64_t site, const at::Tensor& x, double p) {
  const auto call = static_cast<uint64_t>(calls_[site]++);  // a site in a loop is called several times
  if (p >= 1 || x.dim() < 2 || x.numel() == 0) {
    return p >= 1 ? x * 0 : at::dropout(x, p, /*train=*/true);
  }
  const uint64_t site_key = mix64(hash_name("dropout of the base"), mix64(static_cast<uint64_t>(site), call));
  return ops::differentiable_dropout(x.reshape({-1, x.size(-1)}), {keys_of(-1 - site, x), site_key, p}).view(x.sizes());
}

at::Tensor CallContext::look_up(int64_t host, const at::Tensor& ids) {
  const auto& table = dynamic_cast<const nn::Embedding&>(*hosts_.all[host]);
  std::vector<int64_t> sizes = ids.sizes().vec();
  sizes.push_back(table.dim());
  return table.forward(ids.reshape({-1})).view(sizes);
}

std::vector<Slot> call_hosts(Lowered& lowered, const Hosts& hosts, bool training) {
  const std::vector<SlotUses> uses = find_uses(lowered);
  Caller caller(lowered, hosts);
  for (size_t i = 0; i < uses.size(); ++i) {
    const auto plan = hosts.plans.find(lowered.slots[i].name);
    if (plan != hosts.plans.end()) {
      caller.change(uses[i], plan->second);
    }
  }
  if (training) {
    caller.change_dropouts(lowered.graph->block());
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
