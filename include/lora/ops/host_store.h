#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace lora::ops {

using at::Tensor;

/// Tensors of a forward pass that are offloaded to the host's memory until backward takes them in reverse order. On CUDA, copies use
/// pinned memory and a stream of their own in parallel with the computation: while one tensor is in use, the next is copied back.
class HostStore {
 public:
  HostStore();
  ~HostStore();
  /// Starts the copy of x, whose device memory becomes free some calls later. Returns the number to take it by.
  int64_t put(const Tensor& x);
  /// Returns a stored tensor on its original device, once, and starts the copy of the one stored before it.
  Tensor take(int64_t number);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::ops
