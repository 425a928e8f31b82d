#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace lora::nn {

/// Work for a device that is recorded once and run again with one call: where it is many small kernels, the time to launch them is what
/// a step takes. The work reads and writes the same tensors every time, and decides nothing by what is in them.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// Runs the work as it is, where it would be recorded: what is made on first use is made now.
  virtual void warm_up(const std::function<void()>& work) = 0;
  /// Records the work, which is not run. Throws what it throws, and c10::Error for work that waits for the device.
  virtual void record(const std::function<void()>& work) = 0;
  /// Runs what was recorded.
  virtual void replay() = 0;
};

/// A CUDA graph. Throws config Error (training.cuda_graphs) where the device or this LibTorch has none.
std::unique_ptr<DeviceGraph> make_device_graph(at::Device device);

}  // namespace lora::nn
