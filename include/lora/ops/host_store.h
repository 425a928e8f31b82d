#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace lora::ops {

using at::Tensor;

/// Tensors of a forward pass that wait in the host's memory for a backward that takes them in the opposite order. On CUDA copies run
/// in pinned memory and in a stream of their own beside the computation: each is on its way back while the one behind it is in use.
class HostStore {
 public:
  HostStore();
  ~HostStore();
  /// Begins the copy of x, whose memory on the device is free some calls later. The number to take it by.
  int64_t put(const Tensor& x);
  /// What was put, on the device it came from, once; the copy of the one before it begins.
  Tensor take(int64_t number);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::ops
