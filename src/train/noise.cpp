#include "train/noise.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"

namespace lora::train {

namespace {

// Distinguish the uses of keys.
constexpr uint64_t kTraining = 0xd1f5, kEvaluation = 0xe7a1;

}  // namespace

uint64_t training_key(uint64_t seed, int64_t step, int64_t sample) {
  return mix64(mix64(mix64(seed, kTraining), static_cast<uint64_t>(step)), static_cast<uint64_t>(sample));
}

uint64_t evaluation_key(int64_t sample, int64_t number) {
  return mix64(mix64(kEvaluation, static_cast<uint64_t>(sample)), static_cast<uint64_t>(number));
}

void fill_with_noise(at::Tensor tensor, uint64_t key, Draw what) {
  fill_normal({tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel())}, mix64(key, static_cast<uint64_t>(what)));
}

int64_t drawn_integer(int64_t first, int64_t last, uint64_t key, Draw what) {
  CounterRandom random(mix64(key, static_cast<uint64_t>(what)));
  return first + static_cast<int64_t>(random.below(static_cast<uint64_t>(last - first + 1)));
}

}  // namespace lora::train
