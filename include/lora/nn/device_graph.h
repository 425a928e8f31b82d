#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace lora::nn {

/// Work for a device that is recorded once and replayed by one call: a step of many small kernels otherwise spends most of its time
/// launching them. The work reads and writes the same tensors every time, and nothing it does depends on their values.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// Runs the work normally before it is recorded, so that whatever is created on first use exists.
  virtual void warm_up(const std::function<void()>& work) = 0;
  /// Records the work without running it. Rethrows its exceptions; throws c10::Error for work that waits for the device.
  virtual void record(const std::function<void()>& work) = 0;
  /// Runs the recorded work.
  virtual void replay() = 0;
};

/// A CUDA graph. Throws config Error (training.cuda_graphs) if the device or this LibTorch does not support them.
std::unique_ptr<DeviceGraph> make_device_graph(at::Device device);

}  // namespace lora::nn
