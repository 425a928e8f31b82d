#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lora::tokenizer {

/// The merge of a pair of tokens.
struct Merge {
  uint32_t rank = 0;  ///< the lowest rank merges first
  int32_t id = -1;    ///< the id of the merged token
};

/// Merges by pair of ids, with open addressing in a half-empty table.
class PairTable {
 public:
  explicit PairTable(size_t num_pairs);
  /// The last merge of a pair is used.
  void set(int32_t left, int32_t right, Merge merge);
  /// Null if the two do not merge.
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
