#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "lora/ops/host_store.h"

namespace lora::ops {

/// f(x), keeping only x: backward computes f a second time, then with its graph (Chen et al. 2016, "Training Deep Nets with Sublinear
/// Memory Cost", section 3). Gradients of other tensors that f uses are added to their grad during backward. f must return the same
/// result both times and own whatever it refers to; if no gradient is needed, it is called once. With a `store`, x is offloaded to it.
Tensor recompute(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const std::shared_ptr<HostStore>& store = nullptr);

/// The same for a function of several tensors. What f uses in addition to its inputs must be leaves of the graph.
Tensor recompute(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs,
                 const std::shared_ptr<HostStore>& store = nullptr);

}  // namespace lora::ops
