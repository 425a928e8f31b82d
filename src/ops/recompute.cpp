#include "lora/ops/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using Recomputable = std::function<Tensor(const std::vector<Tensor>&)>;

struct Again : torch::CustomClassHolder {
  Again(Recomputable f, std::shared_ptr<HostStore> store) : f(std::move(f)), store(std::move(store)) {}
  Recomputable f;
  std::shared_ptr<HostStore> store;  ///< null: the inputs are kept on their device
  std::vector<int64_t> numbers;      ///< of the inputs in the store
  std::vector<bool> need_grad;
};

/// The inputs as leaves of a graph of their own.
std::vector<Tensor> leaves(const Again& again, const variable_list& saved) {
  std::vector<Tensor> inputs(again.need_grad.size());
  for (size_t i = inputs.size(); i-- > 0;) {  // the store gives them back in reverse order
    const Tensor kept = again.store == nullptr ? saved[i] : again.store->take(again.numbers[i]);
    inputs[i] = kept.detach().requires_grad_(again.need_grad[i]);
  }
  return inputs;
}

struct Recompute : torch::autograd::Function<Recompute> {
  /// @param anchor requires grad, so that backward runs even if no input does: f may use tensors that are trained.
  static Tensor forward(AutogradContext* ctx, at::TensorList inputs, const Tensor&, c10::intrusive_ptr<Again> again) {
    for (const Tensor& x : inputs) {
      again->need_grad.push_back(x.requires_grad());
      if (again->store != nullptr) {
        again->numbers.push_back(again->store->put(x));
      }
    }
    if (again->store == nullptr) {
      ctx->save_for_backward(inputs.vec());
    }
    ctx->saved_data["again"] = at::IValue::make_capsule(again);
    const at::NoGradGuard no_grad;
    return again->f(inputs.vec());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto again = c10::static_intrusive_pointer_cast<Again>(ctx->saved_data["again"].toCapsule());
    const at::AutoGradMode with_graph(true);
    const std::vector<Tensor> inputs = leaves(*again, again->store == nullptr ? ctx->get_saved_variables() : variable_list());
    const Tensor y = again->f(inputs);
    if (y.requires_grad()) {
      torch::autograd::backward({y}, {grads[0]});
    }
    variable_list gradients;
    for (const Tensor& x : inputs) {
      gradients.push_back(x.grad());
    }
    gradients.resize(inputs.size() + 2);  // for the anchor and the function
    return gradients;
  }
};

}  // namespace

Tensor recompute(const Recomputable& f, const std::vector<Tensor>& inputs, const std::shared_ptr<HostStore>& store) {
  if (!at::GradMode::is_enabled()) {
    return f(inputs);
  }
  const Tensor anchor = at::zeros({}, inputs.front().options().dtype(at::kFloat)).requires_grad_(true);
  return Recompute::apply(at::TensorList(inputs), anchor, c10::make_intrusive<Again>(f, store));
}

Tensor recompute(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const std::shared_ptr<HostStore>& store) {
  return recompute([f](const std::vector<Tensor>& inputs) { return f(inputs.front()); }, std::vector<Tensor>{x}, store);
}

}  // namespace lora::ops
