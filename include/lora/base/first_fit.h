#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>

namespace lora {

/// Hands out pieces of a stretch of addresses, always the lowest that fits; pieces given back become one with free neighbours.
/// It knows offsets alone and touches no memory.
class FirstFit {
 public:
  explicit FirstFit(int64_t capacity) : free_{{0, capacity}} {}

  /// The offset of `size` > 0 free bytes, or none.
  std::optional<int64_t> take(int64_t size);
  /// @param offset one that take() gave and that was not given back since.
  void give_back(int64_t offset);

 private:
  std::map<int64_t, int64_t> free_;            ///< size by offset; no two of them touch
  std::unordered_map<int64_t, int64_t> used_;  ///< size by offset
};

}  // namespace lora
