#include "lora/train/side_by_side.h"

#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace lora::train {

namespace {

using at::Tensor;

struct PartResult {
  std::vector<Tensor> gradients;  ///< of each parameter; undefined: the loss does not depend on it
  Tensor loss;
};

/// Adds up the results of several threads, in the order of the parts.
class OrderedSum {
 public:
  explicit OrderedSum(const std::vector<nn::Parameter>& parameters) : parameters_(parameters) {}

  void add(int64_t part, PartResult result) {
    const at::NoGradGuard no_grad;
    const std::lock_guard lock(mutex_);
    waiting_.emplace(part, std::move(result));
    while (!waiting_.empty() && waiting_.begin()->first == next_) {
      add_next(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
      ++next_;
    }
  }

  const Tensor& loss() const { return loss_; }

 private:
  void add_next(const PartResult& result) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& sum = parameters_[i].tensor.mutable_grad();
      if (!sum.defined()) {
        sum = result.gradients[i];
      } else if (result.gradients[i].defined()) {
        sum.add_(result.gradients[i]);
      }
    }
    loss_ = loss_.defined() ? loss_ + result.loss : result.loss;
  }

  const std::vector<nn::Parameter>& parameters_;
  std::mutex mutex_;
  int64_t next_ = 0;
  std::map<int64_t, PartResult> waiting_;  ///< results of parts whose turn has not come
  Tensor loss_;
};

}  // namespace

Tensor add_gradients_side_by_side(const std::function<Tensor(const MicroBatch& part)>& loss_of,
                                  const std::vector<nn::Parameter>& parameters, const std::vector<MicroBatch>& parts, double scale,
                                  ops::Lanes& lanes) {
  std::vector<Tensor> tensors;
  for (const nn::Parameter& parameter : parameters) {
    tensors.push_back(parameter.tensor);
  }
  OrderedSum sum(parameters);
  const auto add_part = [&](int64_t part) {
    const Tensor loss = loss_of(parts[part]);
    std::vector<Tensor> gradients = torch::autograd::grad({loss * scale}, tensors, {}, /*retain_graph=*/false, /*create_graph=*/false,
                                                          /*allow_unused=*/true);
    sum.add(part, {std::move(gradients), loss.detach().to(at::kDouble)});
  };
  // A profile covers one thread: while profiling, each part uses all threads.
  const int64_t most = at::hasCallbacks() ? 1 : kMostWaiting;
  for (int64_t begin = 0; begin < static_cast<int64_t>(parts.size()); begin += most) {
    lanes.run(std::min(most, static_cast<int64_t>(parts.size()) - begin), [&](int64_t part) { add_part(begin + part); });
  }
  return sum.loss();
}

}  // namespace lora::train
