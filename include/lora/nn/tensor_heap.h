#pragma once

namespace lora::nn {

/// Gives LibTorch a heap of its own for large tensors on the CPU, for programs, at their start. In the C library's they lie
/// between small blocks that live on, so that documents of other lengths than the last batch's find only holes that do not
/// fit, and the heap grows step by step. Here nothing is left between steps but what is trained. Freed pages are kept, as
/// base/heap.h keeps them. Does nothing under the address sanitizer, or where so many addresses cannot be reserved.
void use_tensor_heap();

}  // namespace lora::nn
