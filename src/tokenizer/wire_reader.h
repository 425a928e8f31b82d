#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// One field of a Protocol Buffers message as it stands in the file.
struct WireField {
  static constexpr uint32_t kVarint = 0;
  static constexpr uint32_t kFixed64 = 1;
  static constexpr uint32_t kBytes = 2;
  static constexpr uint32_t kFixed32 = 5;

  uint32_t number = 0;
  uint32_t wire_type = 0;
  uint64_t value = 0;      ///< of a varint or fixed field
  std::string_view bytes;  ///< of a length-delimited field
};

/// Walks the fields of one message, every read checked against its end: the file comes from strangers.
/// Goal: to look at a message before the library that trusts it does. Non-goal: groups, which no tokenizer has.
class WireReader {
 public:
  /// `where` names the file in errors.
  WireReader(std::string_view message, std::string where) : message_(message), where_(std::move(where)) {}

  /// The next field, nothing at the end. Throws model Error if the message is damaged.
  std::optional<WireField> next();

 private:
  uint64_t varint();
  uint64_t fixed(size_t size);
  [[noreturn]] void fail(const std::string& what) const;

  std::string_view message_;
  std::string where_;
  size_t position_ = 0;
};

}  // namespace lora::tokenizer
