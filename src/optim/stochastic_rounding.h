#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::optim {

/// Rounds float32 numbers to bfloat16 at random, up or down with the probabilities that make the expected result the number itself;
/// numbers that bfloat16 has are unchanged. The random bits of an element are a function of the key and of its place in memory, so that
/// devices and numbers of threads give the same result. Infinities and NaN stay what they are.
/// @param values float32, dense
/// @param result bfloat16, of the same shape and memory order
void round_stochastically(const at::Tensor& values, const at::Tensor& result, uint64_t key);

/// The same by ATen's operators, for any device.
void round_stochastically_by_operators(const at::Tensor& values, const at::Tensor& result, uint64_t key);

}  // namespace lora::optim
