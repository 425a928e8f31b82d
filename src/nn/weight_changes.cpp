#include "lora/nn/weight_changes.h"

#include <atomic>

namespace lora::nn {

namespace {

std::atomic<uint64_t> trained_changes = 0;
std::atomic<uint64_t> base_changes = 0;

}  // namespace

void trained_weights_changed() {
  ++trained_changes;
}

void base_weights_changed() {
  ++base_changes;
}

WeightChanges weight_changes() {
  return {trained_changes, base_changes};
}

}  // namespace lora::nn
