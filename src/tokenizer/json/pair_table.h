#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lora::tokenizer {

/// What a pair of tokens merges to.
struct Merge {
  uint32_t rank = 0;  ///< lower merges first
  int32_t id = -1;    ///< of the merged token
};

/// Merges by pair of ids: open addressing, half empty.
class PairTable {
 public:
  explicit PairTable(size_t num_pairs);
  /// The last one of a pair counts.
  void set(int32_t left, int32_t right, Merge merge);
  /// Null where the two do not merge.
  const Merge* find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t slot = hash(key);; slot = (slot + 1) & mask_) {
      if (keys_[slot] == key) {
        return &merges_[slot];
      }
      if (keys_[slot] == kEmpty) {
        return nullptr;
      }
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t key_of(int32_t left, int32_t right) { return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right); }
  size_t hash(uint64_t key) const { return static_cast<size_t>((key * 0x9e3779b97f4a7c15ULL) >> shift_); }  // Fibonacci hashing

  unsigned shift_;
  size_t mask_;
  std::vector<uint64_t> keys_;
  std::vector<Merge> merges_;
};

}  // namespace lora::tokenizer
