#include "lora/train/step_graph.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/nn/device.h"

namespace lora::train {

namespace {

/// Passes before the recorded one: in the first ones libraries select kernels and allocate memory.
constexpr int64_t kWarmUps = 3;

}  // namespace

StepGraph::StepGraph(std::unique_ptr<nn::DeviceGraph> graph, const nn::BatchRoom& room, const std::vector<nn::Parameter>& trained,
                     LossOf loss_of)
    : graph_(std::move(graph)), room_(room), trained_(trained), loss_of_(std::move(loss_of)) {}

at::Tensor StepGraph::add_gradients(const nn::Pass& pass, double scale) {
  fill(pass, scale);
  hold_gradients();
  if (runs_ <= kWarmUps) {
    prepare();
    note_reached();
    ++runs_;
  }
  if (runs_ <= kWarmUps) {
    return loss_;
  }
  graph_->replay();
  return loss_.clone();
}

/// Copies the batch into the tensors that the recorded work reads.
void StepGraph::fill(const nn::Pass& pass, double scale) {
  if (!row_keys_T_.defined()) {
    batch_ = pass.batch().with_tensors([](const at::Tensor& tensor) { return tensor.clone(); });
    batch_.layout.is_replayed = pass.layout().device().is_cuda();
    row_keys_T_ = pass.row_keys_T.clone();
    recompute_ = pass.recompute;
    scale_ = at::full({}, scale, row_keys_T_.options().dtype(at::kFloat));
    return;
  }
  batch_.copy_tensors(pass.batch());
  batch_.layout.host_offsets = pass.layout().host_offsets;
  row_keys_T_.copy_(pass.row_keys_T);
  scale_.fill_(scale);
}

void StepGraph::run() {
  nn::Pass pass(batch_, row_keys_T_);
  pass.recompute = recompute_;
  const at::Tensor loss = loss_of_(pass);
  (loss * scale_).backward();
  loss_ = loss.detach().to(at::kDouble);
}

/// One of the first passes, or the recording after them.
void StepGraph::prepare() {
  try {
    if (runs_ < kWarmUps) {
      graph_->warm_up([this] { run(); });
      return;
    }
    // The recorded work has its own memory: what the first passes left is of no use to it and would not be released in the meantime.
    nn::release_cached_memory(row_keys_T_.device());
    graph_->record([this] { run(); });
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    config_error("training.cuda_graphs",
                 "a step of this model cannot be recorded: " + first_line(error.what_without_backtrace()) + ". Use false.");
  }
}

void StepGraph::note_reached() {
  if (!reached_.empty()) {
    return;
  }
  for (const nn::Parameter& parameter : trained_) {
    if (parameter.tensor.grad().defined()) {
      reached_.push_back(parameter.tensor);
      gradients_.push_back(at::zeros_like(parameter.tensor));
    }
  }
}

/// Gradients are in the tensors that the recorded work adds to, and are set to 0 when a step begins.
void StepGraph::hold_gradients() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> begun;
  for (size_t i = 0; i < reached_.size(); ++i) {
    if (!reached_[i].grad().defined()) {
      begun.push_back(gradients_[i]);
    } else if (!reached_[i].grad().is_same(gradients_[i])) {
      gradients_[i].copy_(reached_[i].grad());
    }
    reached_[i].mutable_grad() = gradients_[i];
  }
  if (!begun.empty()) {
    at::_foreach_zero_(begun);
  }
}

}  // namespace lora::train
