#include "lora/ops/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Again : torch::CustomClassHolder {
  Again(std::function<Tensor(const Tensor&)> f, std::shared_ptr<HostStore> store) : f(std::move(f)), store(std::move(store)) {}
  std::function<Tensor(const Tensor&)> f;
  std::shared_ptr<HostStore> store;  ///< null: x is kept on its device
  int64_t number = 0;                ///< number of x in the store
};

struct Recompute : torch::autograd::Function<Recompute> {
  /// @param anchor requires grad, so that backward runs even if x does not: f may use tensors that are trained.
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& anchor, c10::intrusive_ptr<Again> again) {
    if (again->store == nullptr) {
      ctx->save_for_backward({x});
    } else {
      again->number = again->store->put(x);
    }
    ctx->saved_data["x_needs_grad"] = x.requires_grad();
    ctx->saved_data["again"] = at::IValue::make_capsule(again);
    const at::NoGradGuard no_grad;
    return again->f(x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto again = c10::static_intrusive_pointer_cast<Again>(ctx->saved_data["again"].toCapsule());
    const at::AutoGradMode with_graph(true);
    const Tensor kept = again->store == nullptr ? ctx->get_saved_variables()[0] : again->store->take(again->number);
    const Tensor x = kept.detach().requires_grad_(ctx->saved_data["x_needs_grad"].toBool());
    const Tensor y = again->f(x);
    if (y.requires_grad()) {
      torch::autograd::backward({y}, {grads[0]});
    }
    return {x.grad(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor recompute(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const std::shared_ptr<HostStore>& store) {
  if (!at::GradMode::is_enabled()) {
    return f(x);
  }
  const Tensor anchor = at::zeros({}, x.options().dtype(at::kFloat)).requires_grad_(true);
  return Recompute::apply(x, anchor, c10::make_intrusive<Again>(f, store));
}

}  // namespace lora::ops
