#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>

namespace lora {

/// Allocates ranges of an address space, always at the lowest offset that fits; a range that is given back merges with its free
/// neighbours. It only computes offsets and touches no memory.
class FirstFit {
 public:
  explicit FirstFit(int64_t capacity) : free_{{0, capacity}} {}

  /// The offset of `size` > 0 free bytes; empty if no free range is large enough.
  std::optional<int64_t> take(int64_t size);
  /// @param offset an offset that take() returned and that has not been given back since.
  void give_back(int64_t offset);

 private:
  std::map<int64_t, int64_t> free_;            ///< size by offset; no two ranges touch
  std::unordered_map<int64_t, int64_t> used_;  ///< size by offset
};

}  // namespace lora
