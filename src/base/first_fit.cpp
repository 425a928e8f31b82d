#include "lora/base/first_fit.h"

#include <algorithm>
#include <iterator>

namespace lora {

std::optional<int64_t> FirstFit::take(int64_t size) {
  const auto found = std::find_if(free_.begin(), free_.end(), [size](const auto& piece) { return piece.second >= size; });
  if (found == free_.end()) {
    return std::nullopt;
  }
  const auto [offset, length] = *found;
  const auto next = free_.erase(found);
  if (length > size) {
    free_.emplace_hint(next, offset + size, length - size);
  }
  used_.emplace(offset, size);
  return offset;
}

void FirstFit::give_back(int64_t offset) {
  const auto used = used_.find(offset);
  auto piece = free_.emplace(offset, used->second).first;
  used_.erase(used);
  const auto next = std::next(piece);
  if (next != free_.end() && piece->first + piece->second == next->first) {
    piece->second += next->second;
    free_.erase(next);
  }
  if (piece != free_.begin()) {
    const auto previous = std::prev(piece);
    if (previous->first + previous->second == piece->first) {
      previous->second += piece->second;
      free_.erase(piece);
    }
  }
}

}  // namespace lora
