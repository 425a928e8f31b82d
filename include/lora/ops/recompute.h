#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "lora/ops/host_store.h"

namespace lora::ops {

/// f(x) of which nothing is kept but x: backward computes f a second time, now with its graph (Chen et al. 2016, "Training
/// Deep Nets with Sublinear Memory Cost", section 3). Gradients of tensors that f uses besides x are added to their grad
/// when backward comes by. f must give the same result both times and hold whatever it refers to; where no gradient is
/// wanted it is called once. With a `store` x waits there.
Tensor recompute(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const std::shared_ptr<HostStore>& store = nullptr);

}  // namespace lora::ops
