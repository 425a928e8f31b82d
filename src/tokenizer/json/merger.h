#pragma once
#include <cstddef>
#include <vector>

#include "tokenizer/json/pair_table.h"

namespace lora::tokenizer {

/// Byte pair encoding of one word: repeatedly merges the neighbours with the lowest rank, the leftmost of them first
/// (Sennrich, Haddow and Birch, arXiv:1508.07909). Reuses its buffers for the next word.
class Merger {
 public:
  explicit Merger(const PairTable& pairs) : pairs_(pairs) {}

  /// Merges `symbols` in place, in O(n log n) steps.
  void merge(std::vector<int32_t>& symbols);
  /// The number of pair look-ups so far, as a measure of work.
  size_t num_lookups() const { return num_lookups_; }

 private:
  struct Candidate {
    uint32_t rank;
    uint32_t position;
    int32_t left, right;  ///< the pair when the entry was added
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : position > other.position; }
  };
  struct Symbol {
    int32_t id;
    uint32_t previous, next;
  };

  Merge find(int32_t left, int32_t right);
  void merge_short(std::vector<int32_t>& symbols);
  void merge_long(std::vector<int32_t>& symbols);
  void push(uint32_t position);

  const PairTable& pairs_;
  size_t num_lookups_ = 0;
  std::vector<Merge> merges_;
  std::vector<Symbol> chain_;
  std::vector<Candidate> heap_;
};

}  // namespace lora::tokenizer
