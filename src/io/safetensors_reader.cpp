// The header of a safetensors file: every rule is checked before any tensor byte is read.
#include <algorithm>
#include <tuple>

#include "io/safetensors_format.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/io/safetensors.h"

namespace lora::io {

namespace {

/// Names one tensor of one file in errors.
std::string place(const std::string& where, const std::string& name) {
  return where + ": tensor '" + printable(name, 120) + "'";
}

size_t header_length(std::string_view file, const std::string& where) {
  if (file.size() < kLengthBytes) {
    model_error(where, "is not a safetensors file: found " + std::to_string(file.size()) +
                           " bytes, expected at least 8. Likely cause: an incomplete download or copy.");
  }
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(file[i]);
  }
  if (length < 2 || length > kMaxHeaderBytes) {
    model_error(where, "is not a safetensors file: found a header length of " + std::to_string(length) + ", expected 2 to " +
                           std::to_string(kMaxHeaderBytes) + ". Likely cause: a file of another format, or a git-lfs pointer.");
  }
  if (length > file.size() - kLengthBytes) {
    model_error(where, "ends inside its header: found " + std::to_string(file.size()) + " bytes, expected at least " +
                           std::to_string(length + kLengthBytes) + ". Likely cause: an incomplete download or copy.");
  }
  return static_cast<size_t>(length);
}

/// A non-negative integer of at most 63 bits, or nullopt.
std::optional<int64_t> as_size(const Json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return std::nullopt;
  }
  return value.get<int64_t>();
}

/// The member `key`, which must be an array of sizes.
std::vector<int64_t> read_sizes(const Json& entry, const std::string& key, const std::string& where) {
  const auto member = entry.find(key);
  if (member == entry.end() || !member->is_array()) {
    model_error(where, "found " + (member == entry.end() ? "no '" + key + "'" : "'" + key + "' " + shown(*member)) +
                           ", expected an array of non-negative integers");
  }
  std::vector<int64_t> sizes;
  sizes.reserve(member->size());
  for (const Json& item : *member) {
    const std::optional<int64_t> size = as_size(item);
    if (!size) {
      model_error(where, "found " + shown(item) + " in '" + key + "', expected a non-negative integer below 2^63");
    }
    sizes.push_back(*size);
  }
  return sizes;
}

TensorEntry read_entry(const std::string& name, const Json& value, const std::string& file) {
  const std::string where = place(file, name);
  if (!value.is_object()) {
    model_error(where, "found " + type_name(value) + ", expected an object with dtype, shape and data_offsets");
  }
  const auto dtype = value.find("dtype");
  if (dtype == value.end() || !dtype->is_string()) {
    model_error(where, "found " + (dtype == value.end() ? "no dtype" : "dtype " + shown(*dtype)) + ", expected the name of a dtype");
  }
  TensorEntry entry{name, dtype->get<std::string>(), read_sizes(value, "shape", where)};
  const std::vector<int64_t> offsets = read_sizes(value, "data_offsets", where);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    model_error(where, "found data_offsets " + shown(value["data_offsets"]) + ", expected [begin, end] with begin <= end");
  }
  entry.begin = static_cast<size_t>(offsets[0]);
  entry.end = static_cast<size_t>(offsets[1]);
  const std::optional<Dtype> known = kDtypes.find(entry.dtype_name);
  const std::optional<int64_t> bytes = byte_count(entry.shape, known ? size_of(*known) : 1);
  if (!bytes) {
    model_error(where, "found shape " + shown(value["shape"]) + ", which is too large for 64 bits");
  }
  // An unknown dtype has an unknown element size: such a tensor is refused when it is used.
  if (known && static_cast<size_t>(*bytes) != entry.end - entry.begin) {
    model_error(where, "found data_offsets of " + std::to_string(entry.end - entry.begin) + " bytes, expected " + std::to_string(*bytes) +
                           " for " + entry.dtype_name + " " + shown(value["shape"]));
  }
  return entry;
}

std::map<std::string, std::string> read_metadata(const Json& value, const std::string& where) {
  if (!value.is_object()) {
    model_error(where, "found " + type_name(value) + " as __metadata__, expected an object of strings");
  }
  std::map<std::string, std::string> metadata;
  for (const auto& [key, item] : value.items()) {
    if (!item.is_string()) {
      model_error(where, "found " + type_name(item) + " as __metadata__ '" + printable(key) + "', expected a string");
    }
    metadata[key] = item.get<std::string>();
  }
  return metadata;
}

/// Tensors must follow each other without hole or overlap up to the end of the file, so that nothing can hide between them.
void require_sound_layout(const std::vector<TensorEntry>& tensors, size_t data_bytes, const std::string& where) {
  size_t reached = 0;
  for (const TensorEntry& entry : tensors) {
    if (entry.begin != reached) {
      model_error(place(where, entry.name), "begins at byte " + std::to_string(entry.begin) + " of the data, expected " +
                                                std::to_string(reached) + ": " +
                                                (entry.begin < reached ? "it overlaps another tensor" : "there is a hole before it"));
    }
    reached = entry.end;
  }
  if (reached != data_bytes) {
    const bool is_short = reached > data_bytes;
    model_error(where, "found " + std::to_string(data_bytes) + " bytes of data, expected " + std::to_string(reached) + ". Likely cause: " +
                           (is_short ? "an incomplete download or copy." : "something was appended to the file, or it is damaged."));
  }
}

}  // namespace

std::optional<int64_t> byte_count(const std::vector<int64_t>& shape, int64_t element_bytes) {
  int64_t bytes = element_bytes;
  bool is_empty = false;
  for (const int64_t size : shape) {
    is_empty = is_empty || size == 0;
    // An empty tensor has strides too, so the other sizes must not overflow either.
    if (size < 0 || __builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) {
      return std::nullopt;
    }
  }
  return is_empty ? 0 : bytes;
}

Header parse_header(std::string_view file, const std::string& where) {
  const size_t length = header_length(file, where);
  const std::string_view text = file.substr(kLengthBytes, length);
  if (text.front() != '{') {
    model_error(where, "is not a safetensors file: found '" + printable(text.substr(0, 1)) +
                           "' at the start of its header, expected '{'. Likely cause: a file of another format.");
  }
  const Json json = parse_json(text, where + ": header", ErrorKind::kModel);
  Header header;
  header.data_offset = kLengthBytes + length;
  header.tensors.reserve(json.size());
  for (const auto& [name, value] : json.get_ref<const Json::object_t&>()) {
    if (name == kMetadataKey) {
      header.metadata = read_metadata(value, where);
    } else {
      header.tensors.push_back(read_entry(name, value, where));
    }
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) { return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name); });
  require_sound_layout(header.tensors, file.size() - header.data_offset, where);
  return header;
}

}  // namespace lora::io
