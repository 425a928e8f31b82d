#include "tokenizer/json/charsmap.h"

#include "lora/base/error.h"
#include "tokenizer/model_check.h"
#include "tokenizer/unicode/graphemes.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kMaxCluster = 6;  // in longer clusters, each character is looked up separately

// A unit of the double array (charsmap_check.cpp): bits 0-7 are the label, bit 8 means that it has a value, bits 9 and 10-30 are the
// offset; a value is the lower 31 bits of its unit.
size_t offset_of(uint32_t unit) {
  return static_cast<size_t>(unit >> 10) << ((unit & (1U << 9)) >> 6);
}

uint32_t little_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

}  // namespace

Charsmap::Charsmap(std::string blob, const std::string& where) {
  require_valid_charsmap(blob, where);
  const size_t num_units = little_endian(blob) / 4;
  for (size_t i = 0; i < num_units; ++i) {
    units_.push_back(little_endian(std::string_view(blob).substr(4 + 4 * i, 4)));
  }
  replacements_ = blob.substr(4 + 4 * num_units);
}

std::optional<std::string_view> Charsmap::replacement(std::string_view part) const {
  size_t node = offset_of(units_[0]);
  for (const char c : part) {
    const auto label = static_cast<unsigned char>(c);
    if (label == 0) {
      return std::nullopt;
    }
    node ^= label;
    const uint32_t unit = units_[node];
    if ((unit & 0x800000ffU) != label) {
      return std::nullopt;
    }
    node ^= offset_of(unit);
    if ((unit >> 8 & 1) != 0) {
      const size_t begin = units_[node] & 0x7fffffffU;
      return std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
    }
  }
  return std::nullopt;
}

void Charsmap::put_cluster(std::string_view text, size_t begin, size_t size, AlignedWriter& writer) const {
  if (size < kMaxCluster) {
    if (const auto found = replacement(text.substr(begin, size))) {
      writer.put(*found, begin);
      return;
    }
  }
  for (size_t at = begin; at < begin + size;) {
    const size_t character = at;
    at += utf8_length(static_cast<unsigned char>(text[at]));
    const std::string_view part = text.substr(character, at - character);
    const auto found = replacement(part);
    found ? writer.put(*found, character) : writer.copy(text, character, part.size());
  }
}

AlignedText Charsmap::normalize(const AlignedText& input) const {
  AlignedWriter writer(input);
  size_t begin = 0;
  for_each_grapheme(input.text, [&](std::string_view cluster) {
    put_cluster(input.text, begin, cluster.size(), writer);
    begin += cluster.size();
  });
  return writer.take();
}

std::string decode_base64(std::string_view text, const std::string& where) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) {
    text.remove_suffix(1);
  }
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) {
      model_error(where, "is not valid base64. Likely cause: a damaged file.");
    }
    bits = bits << 6 | static_cast<uint32_t>(digit);
    num_bits += 6;
    if (num_bits >= 8) {
      num_bits -= 8;
      bytes += static_cast<char>(bits >> num_bits & 0xff);
    }
  }
  return bytes;
}

}  // namespace lora::tokenizer
