#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// One field of a Protocol Buffers message as stored in the file.
struct WireField {
  static constexpr uint32_t kVarint = 0;
  static constexpr uint32_t kFixed64 = 1;
  static constexpr uint32_t kBytes = 2;
  static constexpr uint32_t kFixed32 = 5;

  uint32_t number = 0;
  uint32_t wire_type = 0;
  uint64_t value = 0;      ///< for a varint or fixed-size field
  std::string_view bytes;  ///< for a length-delimited field
};

/// Reads the fields of one message and checks every read against its end, because the file may come from an untrusted source.
/// Goal: to check a message before the library that trusts it reads it. Non-goal: groups, which no tokenizer uses.
class WireReader {
 public:
  /// `where`: the name of the file in errors.
  WireReader(std::string_view message, std::string where) : message_(message), where_(std::move(where)) {}

  /// The next field; empty at the end. Throws model Error if the message is damaged.
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
