#include "tokenizer/json/pair_table.h"

#include <bit>

namespace lora::tokenizer {

PairTable::PairTable(size_t num_pairs) {
  const size_t num_slots = std::bit_ceil(2 * num_pairs + 16);
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(num_slots));
  mask_ = num_slots - 1;
  keys_.assign(num_slots, kEmpty);
  merges_.resize(num_slots);
}

void PairTable::set(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t slot = hash(key);
  while (keys_[slot] != key && keys_[slot] != kEmpty) {
    slot = (slot + 1) & mask_;
  }
  keys_[slot] = key;
  merges_[slot] = merge;
}

}  // namespace lora::tokenizer
