#include "lora/ops/lora_linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include "ops/gemm.h"
#include "ops/low_rank_products.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The low-rank parts of a group: their A stacked, R ranks in all.
struct ProjectionGroup : torch::CustomClassHolder {
  explicit ProjectionGroup(const std::vector<Projection>& all) : projections(all) {
    for (const Projection& projection : projections) {
      if (projection.low_rank) {
        begins.push_back(ranks);
        ranks += projection.low_rank->A_RI.size(0);
        dtype = projection.low_rank->A_RI.scalar_type();
        drops = drops || projection.low_rank->dropout.active();
      } else {
        begins.push_back(-1);
      }
    }
  }

  bool adapted() const { return ranks > 0; }
  /// The columns (or rows) of one projection among those of all.
  Tensor own(const Tensor& all, size_t i, int64_t dim) const { return all.narrow(dim, begins[i], projections[i].low_rank->A_RI.size(0)); }
  Tensor stacked_A() const {
    std::vector<Tensor> parts;
    for (const Projection& projection : projections) {
      if (projection.low_rank) {
        parts.push_back(projection.low_rank->A_RI.detach());
      }
    }
    return parts.size() == 1 ? parts.front() : at::cat(parts);
  }
  /// Calls `run` for each projection that has a low-rank part.
  template <typename Run>
  void for_each_adapted(const Run& run) const {
    for (size_t i = 0; i < projections.size(); ++i) {
      if (projections[i].low_rank) {
        run(i, *projections[i].low_rank);
      }
    }
  }

  std::vector<Projection> projections;
  std::vector<int64_t> begins;
  int64_t ranks = 0;
  at::ScalarType dtype = at::kFloat;
  bool drops = false;
};

/// The input of the low-rank part, in x's dtype.
Tensor low_input(const Tensor& x_TI, const LowRankTerm& term) {
  return term.dropout.active() ? dropout(x_TI, term.dropout) : x_TI;
}

/// x Aᵀ of all low-rank parts [T, R].
Tensor down(const Tensor& x_TI, const ProjectionGroup& group) {
  if (!group.drops) {
    return low_product(x_TI, group.stacked_A().t());
  }
  Tensor xa_TR = at::empty({x_TI.size(0), group.ranks}, x_TI.options().dtype(group.dtype));
  group.for_each_adapted(
      [&](size_t i, const LowRankTerm& term) { group.own(xa_TR, i, 1).copy_(low_product(low_input(x_TI, term), term.A_RI.t())); });
  return xa_TR;
}

struct Project : torch::autograd::Function<Project> {
  /// @param trained every tensor that may need a gradient: each projection's bias, A, B and low-rank bias.
  static variable_list forward(AutogradContext* ctx, const Tensor& x_TI, at::TensorList trained,
                               c10::intrusive_ptr<ProjectionGroup> group) {
    const Tensor xa_TR = group->adapted() ? down(x_TI, *group) : Tensor();
    variable_list outputs;
    for (size_t i = 0; i < group->projections.size(); ++i) {
      const Projection& projection = group->projections[i];
      Tensor y_TO = projection.weight->multiply(x_TI, projection.bias_O);
      if (projection.low_rank && projection.low_rank->bias_O) {
        const LowRankTerm& term = *projection.low_rank;
        y_TO = y_TO.to(group->dtype).addmm_(group->own(xa_TR, i, 1), term.B_OR.t(), 1, term.scale).add_(*term.bias_O, term.scale);
        y_TO = y_TO.to(x_TI.scalar_type());
      } else if (projection.low_rank) {
        add_product_(y_TO, group->own(xa_TR, i, 1), projection.low_rank->B_OR.t(), projection.low_rank->scale);
      }
      outputs.push_back(y_TO);
    }
    ctx->save_for_backward({group->adapted() ? x_TI : Tensor(), xa_TR});
    ctx->saved_data["group"] = at::IValue::make_capsule(group);
    ctx->saved_data["trained"] = static_cast<int64_t>(trained.size());
    return outputs;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto group = c10::static_intrusive_pointer_cast<ProjectionGroup>(ctx->saved_data["group"].toCapsule());
    for (Tensor& dy_TO : grads) {
      dy_TO = dy_TO.contiguous();
    }
    variable_list gradients{ctx->needs_input_grad(0) ? input_gradient(*group, grads) : Tensor()};
    if (group->adapted()) {
      low_rank_gradients(*group, saved[0], saved[1], grads, gradients);
    } else {
      for (size_t i = 0; i < grads.size(); ++i) {
        push_bias_gradient(group->projections[i], grads[i], gradients);
      }
    }
    TORCH_INTERNAL_ASSERT(static_cast<int64_t>(gradients.size()) == 1 + ctx->saved_data["trained"].toInt());
    gradients.emplace_back();  // for the group
    return gradients;
  }

  static Tensor input_gradient(const ProjectionGroup& group, const variable_list& grads) {
    Tensor dx_TI = group.projections[0].weight->multiply_transposed(grads[0]);
    for (size_t i = 1; i < grads.size(); ++i) {
      dx_TI = group.projections[i].weight->multiply_transposed(grads[i], dx_TI);
    }
    return dx_TI;
  }

  static void push_bias_gradient(const Projection& projection, const Tensor& dy_TO, variable_list& gradients) {
    if (projection.bias_O) {
      gradients.push_back(projection.bias_O->requires_grad() ? dy_TO.sum(0) : Tensor());
    }
  }

  /// Appends the gradients of the trained tensors and adds the low-rank part's to that of x, gradients[0].
  static void low_rank_gradients(const ProjectionGroup& group, const Tensor& x_TI, const Tensor& xa_TR, const variable_list& grads,
                                 variable_list& gradients) {
    const Tensor dxa_TR = at::empty_like(xa_TR);
    variable_list dB(grads.size()), dbias(grads.size());
    group.for_each_adapted([&](size_t i, const LowRankTerm& term) {
      group.own(dxa_TR, i, 1).copy_(low_product(grads[i], term.B_OR)).mul_(term.scale);
      dB[i] = outer_product(group.own(xa_TR, i, 1), grads[i]).mul_(term.scale).t();
      dbias[i] = term.bias_O && term.bias_O->requires_grad() ? grads[i].to(group.dtype).sum(0) * term.scale : Tensor();
    });
    const Tensor dA_RI = group.drops ? Tensor() : outer_product(dxa_TR, x_TI);
    if (gradients[0].defined() && !group.drops) {
      add_product_(gradients[0], dxa_TR, group.stacked_A(), 1);
    }
    for (size_t i = 0; i < grads.size(); ++i) {
      push_bias_gradient(group.projections[i], grads[i], gradients);
      if (!group.projections[i].low_rank) {
        continue;
      }
      const LowRankTerm& term = *group.projections[i].low_rank;
      const Tensor own_TR = group.own(dxa_TR, i, 1);
      if (group.drops && gradients[0].defined()) {
        const Tensor dlow_TI = gemm(own_TR, term.A_RI);
        gradients[0].add_((term.dropout.active() ? dropout(dlow_TI, term.dropout) : dlow_TI).to(x_TI.scalar_type()));
      }
      gradients.push_back(group.drops ? outer_product(own_TR, low_input(x_TI, term)) : group.own(dA_RI, i, 0));
      gradients.push_back(dB[i]);
      if (term.bias_O) {
        gradients.push_back(dbias[i]);
      }
    }
  }
};

}  // namespace

std::vector<Tensor> project(const Tensor& x_TI, const std::vector<Projection>& projections) {
  std::vector<Tensor> trained;
  const auto add = [&trained](const std::optional<Tensor>& tensor) {
    if (tensor) {
      trained.push_back(*tensor);
    }
  };
  for (const Projection& projection : projections) {
    TORCH_CHECK(!projection.weight->requires_grad(), "project: the weight must be frozen");
    add(projection.bias_O);
    if (projection.low_rank) {
      add(projection.low_rank->A_RI);
      add(projection.low_rank->B_OR);
      add(projection.low_rank->bias_O);
    }
  }
  return Project::apply(x_TI, at::TensorList(trained), c10::make_intrusive<ProjectionGroup>(projections));
}

Tensor linear(const Tensor& x_TI, const std::shared_ptr<const LinearWeight>& weight, const std::optional<Tensor>& bias_O) {
  const bool is_dense = weight->tensor().defined();
  return is_dense ? at::linear(x_TI, weight->dequantised(), bias_O.value_or(Tensor())) : project(x_TI, {{weight, bias_O}}).front();
}

Tensor low_rank(const Tensor& x_TI, const LowRankTerm& term) {
  const Tensor dropped_TI = differentiable_dropout(x_TI, term.dropout).to(term.A_RI.scalar_type());
  const Tensor ab_TO = dropped_TI.mm(term.A_RI.t()).mm(term.B_OR.t());
  return (term.bias_O ? ab_TO + *term.bias_O : ab_TO) * term.scale;
}

Tensor lora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const LowRankTerm& term) {
  const Tensor base_TO = at::linear(x_TI, W_OI, bias_O ? *bias_O : Tensor());
  return (base_TO + low_rank(x_TI, term)).to(x_TI.scalar_type());
}

}  // namespace lora::ops
