#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/json/pieces.h"

namespace lora::tokenizer {

/// A cache of the ids of recent short words: a table of fixed size in which a new word replaces an old one. Several threads may use it; a
/// thread that finds it in use works without it.
class WordCache {
  static constexpr size_t kMaxBytes = 30;
  static constexpr size_t kMaxIds = 8;
  static constexpr size_t kNumEntries = size_t{1} << 16;

  struct Entry {  // the size of one cache line
    std::array<int32_t, kMaxIds> ids;
    std::array<char, kMaxBytes> bytes;
    uint8_t num_bytes;
    uint8_t num_ids;
  };

 public:
  /// Appends the ids of each piece, from the cache or from `encode(text)`, which may return a reference to a list of the caller.
  template <typename Encode>
  void encode_each(const Pieces& pieces, std::vector<int32_t>& ids, const Encode& encode) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    for (const TextPiece& piece : pieces) {
      if (lock) {
        if (const auto known = find(piece.text)) {
          ids.insert(ids.end(), known->begin(), known->end());
          continue;
        }
      }
      const std::vector<int32_t>& word = encode(piece.text);
      if (lock) {
        put(piece.text, word);
      }
      ids.insert(ids.end(), word.begin(), word.end());
    }
  }

 private:
  /// The ids of `word` if it is cached; valid until the next put().
  std::optional<std::span<const int32_t>> find(std::string_view word) const {
    if (entries_.empty() || word.size() > kMaxBytes) {
      return std::nullopt;
    }
    const Entry& entry = entries_[slot_of(word)];
    if (entry.num_bytes != word.size() || std::memcmp(entry.bytes.data(), word.data(), word.size()) != 0) {
      return std::nullopt;
    }
    return std::span(entry.ids.data(), entry.num_ids);
  }

  /// Words and lists of ids that are too long are not cached.
  void put(std::string_view word, std::span<const int32_t> ids) {
    if (word.empty() || word.size() > kMaxBytes || ids.size() > kMaxIds) {
      return;
    }
    if (entries_.empty()) {
      entries_.resize(kNumEntries, Entry{});
    }
    Entry& entry = entries_[slot_of(word)];
    std::memcpy(entry.bytes.data(), word.data(), word.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
    entry.num_bytes = static_cast<uint8_t>(word.size());
    entry.num_ids = static_cast<uint8_t>(ids.size());
  }

  static size_t slot_of(std::string_view word) {
    uint64_t hash = word.size();
    for (size_t i = 0; i < word.size(); i += 8) {
      uint64_t part = 0;
      std::memcpy(&part, word.data() + i, std::min<size_t>(8, word.size() - i));
      hash = (hash ^ part) * 0x9e3779b97f4a7c15ULL;  // Fibonacci hashing
      hash ^= hash >> 32;
    }
    return static_cast<size_t>(hash & (kNumEntries - 1));
  }

  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace lora::tokenizer
