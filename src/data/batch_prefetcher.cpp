#include "lora/data/batch_prefetcher.h"

#include <ATen/ATen.h>

#include <cstring>

#include "lora/data/batches.h"

namespace lora::data {
namespace {

at::Tensor pinned(const at::Tensor& tensor) {
  at::Tensor copy = at::empty(tensor.sizes(), tensor.options().pinned_memory(true));
  std::memcpy(copy.mutable_data_ptr(), tensor.const_data_ptr(), tensor.nbytes());  // copy_ would start additional threads
  return copy;
}

nn::Batch build(const Dataset& dataset, const std::vector<int64_t>& indices, c10::Device device) {
  nn::Batch batch = make_batch(dataset, indices);
  return device.is_cuda() ? batch.with_tensors(pinned) : batch;
}

}  // namespace

BatchPrefetcher::BatchPrefetcher(const Dataset& dataset, c10::Device device, bool ahead)
    : dataset_(dataset), device_(device), ahead_(ahead) {}

BatchPrefetcher::~BatchPrefetcher() = default;

void BatchPrefetcher::expect(const std::vector<std::vector<int64_t>>& upcoming) {
  if (!ahead_) {
    return;
  }
  expected_.assign(upcoming.begin(), upcoming.end());
  if (result_.valid() && !expected_.empty() && begun_ == expected_.front()) {
    expected_.pop_front();  // it is being built already
  } else {
    begin_next();
  }
}

nn::Batch BatchPrefetcher::take(const std::vector<int64_t>& indices) {
  const bool is_begun = result_.valid() && begun_ == indices;
  const nn::Batch batch = is_begun ? result_.get() : build(dataset_, indices, device_);
  if (is_begun) {
    begin_next();
  }
  return batch.with_tensors([this](const at::Tensor& tensor) { return tensor.to(device_, tensor.scalar_type(), /*non_blocking=*/true); });
}

void BatchPrefetcher::begin_next() {
  result_ = {};
  if (expected_.empty()) {
    return;
  }
  begun_ = std::move(expected_.front());
  expected_.pop_front();
  result_ = std::async(std::launch::async, [this, indices = begun_] { return build(dataset_, indices, device_); });
}

}  // namespace lora::data
