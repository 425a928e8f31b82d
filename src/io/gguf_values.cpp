// The metadata and the bytes of a GGUF file.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "lora/base/text.h"
#include "lora/io/gguf_file.h"

namespace lora::io {

namespace {

/// ggml's numbers of the value types.
enum GgufValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBoolean, kString, kArrayOf, kU64, kI64, kF64 };

template <typename Number>
Number loaded(const char* bytes) {
  Number value;
  std::memcpy(&value, bytes, sizeof(Number));
  return value;
}

/// The whole number of a type at `bytes`; none for other types and for numbers above 2^63.
std::optional<int64_t> whole(uint32_t type, const char* bytes) {
  switch (type) {
    case kU8:
      return loaded<uint8_t>(bytes);
    case kI8:
      return loaded<int8_t>(bytes);
    case kU16:
      return loaded<uint16_t>(bytes);
    case kI16:
      return loaded<int16_t>(bytes);
    case kU32:
      return loaded<uint32_t>(bytes);
    case kI32:
      return loaded<int32_t>(bytes);
    case kU64:
      return loaded<uint64_t>(bytes) > static_cast<uint64_t>(INT64_MAX) ? std::nullopt : std::optional(loaded<int64_t>(bytes));
    case kI64:
      return loaded<int64_t>(bytes);
    default:
      return std::nullopt;
  }
}

size_t value_bytes(uint32_t type) {
  return type == kU8 || type == kI8 ? 1 : type == kU16 || type == kI16 ? 2 : type == kU64 || type == kI64 || type == kF64 ? 8 : 4;
}

}  // namespace

bool GgufFile::has(const std::string& key) const {
  return values_.contains(key);
}

const GgufFile::Value& GgufFile::value(const std::string& key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) {
    model_error(path_.string(),
                "has no metadata key '" + printable(key, 120) + "'. Likely cause: the file is not a complete language model.");
  }
  return found->second;
}

void GgufFile::fail(const std::string& key, const std::string& expected) const {
  const Value& found = value(key);
  std::string shown = "a string";
  if (found.type == kArrayOf) {
    shown = "an array of " + std::to_string(found.count);
  } else if (const auto whole_number = whole(found.type, found.bytes.data())) {
    shown = std::to_string(*whole_number);
  } else if (found.type == kString) {
    shown = "'" + printable(found.bytes, 60) + "'";
  } else if (found.type == kF32 || found.type == kF64) {
    shown = std::to_string(number(key));
  } else {
    shown = "a boolean or a number above 2^63";
  }
  model_error(path_.string() + ": " + printable(key, 120), "found " + shown + ", expected " + expected);
}

std::string GgufFile::text(const std::string& key) const {
  const Value& found = value(key);
  if (found.type != kString) {
    fail(key, "a string");
  }
  return std::string(found.bytes);
}

std::string GgufFile::text(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}

int64_t GgufFile::integer(const std::string& key) const {
  const Value& found = value(key);
  const std::optional<int64_t> number = found.type == kArrayOf ? std::nullopt : whole(found.type, found.bytes.data());
  if (!number) {
    fail(key, "an integer");
  }
  return *number;
}

int64_t GgufFile::integer(const std::string& key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double GgufFile::number(const std::string& key) const {
  const Value& found = value(key);
  return found.type == kF32   ? static_cast<double>(loaded<float>(found.bytes.data()))
         : found.type == kF64 ? loaded<double>(found.bytes.data())
                              : static_cast<double>(integer(key));
}

double GgufFile::number(const std::string& key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool GgufFile::boolean(const std::string& key, bool fallback) const {
  if (!has(key)) {
    return fallback;
  }
  const Value& found = value(key);
  if (found.type != kBoolean) {
    fail(key, "a boolean");
  }
  return found.bytes.front() != '\0';
}

bool GgufFile::is_array(const std::string& key) const {
  return has(key) && value(key).type == kArrayOf;
}

int64_t GgufFile::length(const std::string& key) const {
  return is_array(key) ? static_cast<int64_t>(value(key).count) : 0;
}

std::vector<std::string_view> GgufFile::texts(const std::string& key) const {
  const Value& found = value(key);
  if (found.type != kArrayOf || found.element != kString) {
    fail(key, "an array of strings");
  }
  std::vector<std::string_view> texts;
  texts.reserve(found.count);
  std::string_view rest = found.bytes;
  for (uint64_t i = 0; i < found.count; ++i) {
    const auto size = static_cast<size_t>(loaded<uint64_t>(rest.data()));  // checked when the file was opened
    texts.push_back(rest.substr(sizeof(uint64_t), size));
    rest.remove_prefix(sizeof(uint64_t) + size);
  }
  return texts;
}

std::vector<int64_t> GgufFile::integers(const std::string& key) const {
  const Value& found = value(key);
  std::vector<int64_t> numbers;
  const size_t step = value_bytes(found.element);
  for (uint64_t i = 0; found.type == kArrayOf && i < found.count; ++i) {
    const std::optional<int64_t> number =
        found.element == kBoolean ? std::optional<int64_t>(found.bytes[i] != '\0') : whole(found.element, found.bytes.data() + i * step);
    if (!number) {
      fail(key, "an array of integers");
    }
    numbers.push_back(*number);
  }
  if (found.type != kArrayOf) {
    fail(key, "an array of integers");
  }
  return numbers;
}

std::vector<float> GgufFile::floats(const std::string& key) const {
  const Value& found = value(key);
  if (found.type != kArrayOf || found.element != kF32) {
    fail(key, "an array of float32 numbers");
  }
  std::vector<float> numbers(found.count);
  if (!numbers.empty()) {
    std::memcpy(numbers.data(), found.bytes.data(), numbers.size() * sizeof(float));
  }
  return numbers;
}

Tensor GgufFile::bytes(const GgufTensor& tensor) const {
  const std::shared_ptr<MappedFile> part = parts_[tensor.part];
  return at::from_blob(
      part->data() + tensor.begin, {static_cast<int64_t>(tensor.bytes)}, [part](void*) {}, at::kByte);
}

void GgufFile::release(const GgufTensor& tensor) const {
  parts_[tensor.part]->release(tensor.begin, tensor.bytes);
}

}  // namespace lora::io
