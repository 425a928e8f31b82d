#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::train {

/// What is drawn for an image; each has numbers of its own.
enum class Draw : uint64_t {
  kLatents = 0x1a7e,       ///< of the posterior
  kNoise = 0x2015,         ///< that the network learns to remove
  kTimestep = 0x7135,
  kOffset = 0x0ff5,        ///< noise_offset
  kPerturbation = 0x9e27,  ///< input_perturbation
};

/// The key of one use of an image: of the example `sample` in optimiser step `step` (from 0), for a run's seed.
uint64_t training_key(uint64_t seed, int64_t step, int64_t sample);

/// The key of an image in the evaluation at one of its timesteps, counted from 0. It depends on no seed, so that runs can be compared.
uint64_t evaluation_key(int64_t sample, int64_t number);

/// Fills a contiguous float32 tensor on the CPU with standard normal numbers (Box and Muller 1958), each a function of the key, of `what`
/// and of its place.
void fill_with_noise(at::Tensor tensor, uint64_t key, Draw what);

/// A number from `first` to `last`, all equally likely.
int64_t drawn_integer(int64_t first, int64_t last, uint64_t key, Draw what);

}  // namespace lora::train
