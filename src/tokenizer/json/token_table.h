#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// The upper bound of ids, far above any real vocabulary; it matters because tables are as long as the largest id.
inline constexpr int64_t kMaxTokenId = int64_t{1} << 24;

/// Tokens by id and ids by token; ids may have gaps.
class TokenTable {
 public:
  /// Throws model Error naming `where` if the id is out of range or taken by another token.
  void add(std::string token, int64_t id, const std::string& where);
  /// The same, but a token that occurs twice gets its last id (lists of SentencePiece).
  void add_or_replace(std::string token, int64_t id, const std::string& where);

  std::optional<int32_t> id(std::string_view token) const;
  std::optional<std::string_view> token(int32_t id) const;
  /// The number of tokens, and one more than the largest id.
  size_t size() const { return ids_.size(); }
  int32_t end() const { return static_cast<int32_t>(by_id_.size()); }
  const std::unordered_map<std::string_view, int32_t>& ids() const { return ids_; }
  void reserve(size_t count);

 private:
  std::string_view put(std::string token, int64_t id, const std::string& where);

  std::deque<std::string> texts_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<std::optional<std::string_view>> by_id_;
};

/// {"token": id, …}. Throws model Error naming `where` for anything else.
TokenTable read_token_table(const Json& tokens, const std::string& where);

}  // namespace lora::tokenizer
