#pragma once
#include <ATen/CPUGeneratorImpl.h>

#include <string>

#include "lora/base/random.h"

namespace lora::peft {

/// The random numbers of a new tensor: a pure function of (seed, name).
inline at::Generator generator_of(uint64_t seed, const std::string& name) {
  return at::detail::createCPUGenerator(mix64(seed, hash_name(name)));
}

}  // namespace lora::peft
