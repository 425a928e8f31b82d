#pragma once

namespace lora::nn {

/// Gives LibTorch a separate heap for large tensors on the CPU. Programs call it at their start. In the C library's heap, large
/// tensors lie between small long-lived blocks; when document lengths change from batch to batch, the holes do not fit and the heap
/// grows step by step. In this heap only trained tensors survive a step. Freed pages are kept, as by base/heap.h. Does nothing under
/// the address sanitizer, or if the address space cannot be reserved.
void use_tensor_heap();

}  // namespace lora::nn
