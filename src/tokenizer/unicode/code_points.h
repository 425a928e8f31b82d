#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lora::tokenizer {

/// A set of code points, as sorted ranges that do not touch.
class CodePoints {
 public:
  struct Range {
    char32_t first;
    char32_t last;
    bool operator==(const Range&) const = default;
  };
  static constexpr char32_t kLast = 0x10ffff;

  CodePoints() = default;
  /// Ranges in any order, overlapping or not.
  explicit CodePoints(std::vector<Range> ranges);

  bool contains(char32_t code) const;
  const std::vector<Range>& ranges() const { return ranges_; }

  CodePoints operator|(const CodePoints& other) const;
  CodePoints operator&(const CodePoints& other) const;
  CodePoints operator~() const;
  bool operator==(const CodePoints&) const = default;

 private:
  std::vector<Range> ranges_;
};

/// A property of code points for frequent look-ups: one bit each, in 4,352 pages of which equal ones are shared.
class PropertyTable {
 public:
  explicit PropertyTable(const CodePoints& set);
  bool operator()(char32_t code) const { return (bits_[size_t{pages_[code >> 8]} * 4 + ((code >> 6) & 3)] >> (code & 63) & 1) != 0; }

 private:
  std::vector<uint16_t> pages_;
  std::vector<uint64_t> bits_;  ///< four words per page
};

}  // namespace lora::tokenizer
