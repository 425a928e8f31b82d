#include "tokenizer/wire_reader.h"

#include "lora/base/error.h"

namespace lora::tokenizer {

std::optional<WireField> WireReader::next() {
  if (position_ == message_.size()) {
    return std::nullopt;
  }
  const uint64_t tag = varint();
  WireField field;
  field.number = static_cast<uint32_t>(tag >> 3);
  field.wire_type = static_cast<uint32_t>(tag & 7);
  if (field.number == 0 || tag > UINT32_MAX) {
    fail("a field has the impossible tag " + std::to_string(tag));
  }
  switch (field.wire_type) {
    case WireField::kVarint:
      field.value = varint();
      return field;
    case WireField::kFixed64:
      field.value = fixed(8);
      return field;
    case WireField::kFixed32:
      field.value = fixed(4);
      return field;
    case WireField::kBytes: {
      const uint64_t size = varint();
      if (size > message_.size() - position_) {
        fail("a field needs " + std::to_string(size) + " bytes, but only " + std::to_string(message_.size() - position_) + " are left");
      }
      field.bytes = message_.substr(position_, size);
      position_ += size;
      return field;
    }
    default:
      fail("a field has the unknown wire type " + std::to_string(field.wire_type));
  }
}

uint64_t WireReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (position_ == message_.size()) {
      fail("the data ends inside a number");
    }
    const auto byte = static_cast<unsigned char>(message_[position_++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
  fail("a number is longer than 10 bytes");
}

uint64_t WireReader::fixed(size_t size) {
  if (size > message_.size() - position_) {
    fail("the data ends inside a number");
  }
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(message_[position_ + i])) << (8 * i);
  }
  position_ += size;
  return value;
}

void WireReader::fail(const std::string& what) const {
  model_error(where_,
              "not a SentencePiece model, or a damaged one: " + what + ". Likely cause: an incomplete download. Download it again.");
}

}  // namespace lora::tokenizer
