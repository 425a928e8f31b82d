#pragma once
#include <c10/core/Device.h>

namespace torch::jit {
struct Module;
}

namespace lora::torchscript {

/// Puts `device` in place of every device that the module's code and attributes name, and moves the tensors that they hold there (not
/// its own tensors: see open_module): a trace holds those that it was made on. Only before the first call, as executors copy the code.
void settle_devices(torch::jit::Module& module, at::Device device);

}  // namespace lora::torchscript
