#include "tokenizer/json/merger.h"

#include <algorithm>
#include <functional>

namespace lora::tokenizer {
namespace {

constexpr size_t kShort = 32;  // up to this length, a scan is faster than a heap
constexpr uint32_t kEnd = UINT32_MAX;
constexpr Merge kNoMerge{UINT32_MAX, -1};

}  // namespace

void Merger::merge(std::vector<int32_t>& symbols) {
  symbols.size() <= kShort ? merge_short(symbols) : merge_long(symbols);
}

Merge Merger::find(int32_t left, int32_t right) {
  ++num_lookups_;
  const Merge* merge = pairs_.find(left, right);
  return merge != nullptr ? *merge : kNoMerge;
}

void Merger::merge_short(std::vector<int32_t>& symbols) {
  merges_.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    merges_.push_back(find(symbols[i], symbols[i + 1]));
  }
  while (!merges_.empty()) {
    const auto best = std::min_element(merges_.begin(), merges_.end(), [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->rank == kNoMerge.rank) {
      return;
    }
    const auto at = static_cast<size_t>(best - merges_.begin());
    symbols[at] = best->id;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges_.erase(best);
    if (at > 0) {
      merges_[at - 1] = find(symbols[at - 1], symbols[at]);
    }
    if (at < merges_.size()) {
      merges_[at] = find(symbols[at], symbols[at + 1]);
    }
  }
}

void Merger::merge_long(std::vector<int32_t>& symbols) {
  const auto size = static_cast<uint32_t>(symbols.size());
  chain_.clear();
  heap_.clear();
  for (uint32_t i = 0; i < size; ++i) {
    chain_.push_back({symbols[i], i == 0 ? kEnd : i - 1, i + 1 == size ? kEnd : i + 1});
  }
  for (uint32_t i = 0; i + 1 < size; ++i) {
    push(i);
  }
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const Candidate best = heap_.back();
    heap_.pop_back();
    Symbol& left = chain_[best.position];
    if (left.id != best.left || left.next == kEnd || chain_[left.next].id != best.right) {
      continue;  // one of the two has merged with another symbol in the meantime
    }
    Symbol& right = chain_[left.next];
    left.id = find(best.left, best.right).id;
    right.id = -1;
    left.next = right.next;
    if (left.next != kEnd) {
      chain_[left.next].previous = best.position;
      push(best.position);
    }
    if (left.previous != kEnd) {
      push(left.previous);
    }
  }
  symbols.clear();
  for (uint32_t i = 0; i != kEnd; i = chain_[i].next) {
    symbols.push_back(chain_[i].id);
  }
}

void Merger::push(uint32_t position) {
  const Symbol& left = chain_[position];
  const int32_t right = chain_[left.next].id;
  const Merge merge = find(left.id, right);
  if (merge.id >= 0) {
    heap_.push_back({merge.rank, position, left.id, right});
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
}

}  // namespace lora::tokenizer
