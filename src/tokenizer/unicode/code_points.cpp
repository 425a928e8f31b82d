#include "tokenizer/unicode/code_points.h"

#include <algorithm>
#include <array>
#include <map>

namespace lora::tokenizer {

CodePoints::CodePoints(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  for (const Range& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

bool CodePoints::contains(char32_t code) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), code, [](char32_t c, const Range& range) { return c < range.first; });
  return after != ranges_.begin() && code <= std::prev(after)->last;
}

CodePoints CodePoints::operator|(const CodePoints& other) const {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePoints(std::move(all));
}

CodePoints CodePoints::operator~() const {
  CodePoints result;
  char32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) {
      result.ranges_.push_back({next, range.first - 1});
    }
    next = range.last + 1;
  }
  if (next <= kLast) {
    result.ranges_.push_back({next, kLast});
  }
  return result;
}

CodePoints CodePoints::operator&(const CodePoints& other) const {
  return ~(~*this | ~other);
}

PropertyTable::PropertyTable(const CodePoints& set) {
  std::map<std::array<uint64_t, 4>, uint16_t> known;
  auto range = set.ranges().begin();
  for (char32_t page = 0; page <= CodePoints::kLast; page += 256) {
    std::array<uint64_t, 4> bits{};
    for (; range != set.ranges().end() && range->first < page + 256; ++range) {
      const char32_t last = std::min<char32_t>(range->last, page + 255);
      for (char32_t code = std::max(range->first, page); code <= last; ++code) {
        bits[(code >> 6) & 3] |= uint64_t{1} << (code & 63);
      }
      if (range->last > page + 255) {
        break;
      }
    }
    const auto [found, is_new] = known.try_emplace(bits, static_cast<uint16_t>(known.size()));
    if (is_new) {
      bits_.insert(bits_.end(), bits.begin(), bits.end());
    }
    pages_.push_back(found->second);
  }
}

}  // namespace lora::tokenizer
