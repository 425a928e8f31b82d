#pragma once
#include <c10/core/Device.h>

namespace torch::jit {
struct Module;
}

namespace lora::torchscript {

/// Replaces every device in the module's code and attributes by `device`, because a trace contains the device that it was made on. Moves
/// the tensors in them there (not the module's own: see open_module). To be called before the first call, because executors copy the code.
void settle_devices(torch::jit::Module& module, at::Device device);

}  // namespace lora::torchscript
