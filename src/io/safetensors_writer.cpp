// Writes the same bytes as Python's safetensors: widest dtype first, then by name; compact JSON, padded with spaces to a
// multiple of 8. (Python orders multiple metadata entries randomly; here they are sorted.)
#include <algorithm>
#include <tuple>

#include "io/safetensors_format.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/io/safetensors.h"

namespace lora::io {

namespace {

/// `text` as a JSON string. Throws Error if it is not UTF-8.
std::string quoted(const std::string& text, const fs::path& file) {
  if (invalid_utf8_at(text) != std::string_view::npos) {
    output_error(file.string(), "cannot hold the name '" + printable(text) + "': found invalid UTF-8");
  }
  return Json(text).dump();
}

size_t bytes_of(const TensorWriter& tensor, const fs::path& file) {
  const std::optional<int64_t> bytes = byte_count(tensor.shape, size_of(tensor.dtype));
  if (!bytes) {
    output_error(file.string(), "cannot hold tensor '" + printable(tensor.name) + "': its shape is invalid or too large");
  }
  return static_cast<size_t>(*bytes);
}

std::string metadata_json(const std::map<std::string, std::string>& metadata, const fs::path& file) {
  std::string text;
  for (const auto& [key, value] : metadata) {
    text += (text.empty() ? "" : ",") + quoted(key, file) + ":" + quoted(value, file);
  }
  return quoted(std::string(kMetadataKey), file) + ":{" + text + "}";
}

/// The header, preceded by its length. `tensors` are in the order of the file.
std::string safetensors_header(const std::vector<TensorWriter>& tensors, const std::map<std::string, std::string>& metadata,
                         const fs::path& file) {
  std::string json = metadata.empty() ? "{" : "{" + metadata_json(metadata, file);
  size_t offset = 0;
  for (const TensorWriter& tensor : tensors) {
    const size_t end = offset + bytes_of(tensor, file);
    json += (json.size() > 1 ? "," : "") + quoted(tensor.name, file) + ":{\"dtype\":\"" + std::string(kDtypes.name(tensor.dtype)) +
            "\",\"shape\":" + Json(tensor.shape).dump() + ",\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(end) + "]}";
    offset = end;
  }
  json += "}";
  json.append((kLengthBytes - json.size() % kLengthBytes) % kLengthBytes, ' ');
  if (json.size() > kMaxHeaderBytes) {
    output_error(file.string(), "would get a header of " + std::to_string(json.size()) + " bytes, expected at most " +
                                    std::to_string(kMaxHeaderBytes) + ". There are too many tensors for one file.");
  }
  std::string length;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length += static_cast<char>(json.size() >> (8 * i) & 0xff);
  }
  return length + json;
}

void sort_and_check(std::vector<TensorWriter>& tensors, const fs::path& file) {
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorWriter& a, const TensorWriter& b) { return std::tie(b.dtype, a.name) < std::tie(a.dtype, b.name); });
  std::vector<std::string_view> names = {kMetadataKey};
  for (const TensorWriter& tensor : tensors) {
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    output_error(file.string(),
                 "cannot hold tensor '" + printable(*twice) + "': its name is already taken. Likely cause: two tensors with one name.");
  }
}

void append_tensor(const TensorWriter& tensor, const Append& append, const fs::path& file) {
  size_t written = 0;
  tensor.produce([&](const void* bytes, size_t size) {
    written += size;
    append(bytes, size);
  });
  if (written != bytes_of(tensor, file)) {
    output_error(file.string(), "cannot hold tensor '" + printable(tensor.name) + "': found " + std::to_string(written) +
                                    " bytes, expected " + std::to_string(bytes_of(tensor, file)));
  }
}

}  // namespace

void write_safetensors(const fs::path& file, std::vector<TensorWriter> tensors, const std::map<std::string, std::string>& metadata) {
  sort_and_check(tensors, file);
  const std::string header = safetensors_header(tensors, metadata, file);
  write_file_atomically(file, [&](const Append& append) {
    append(header.data(), header.size());
    for (const TensorWriter& tensor : tensors) {
      append_tensor(tensor, append, file);
    }
  });
}

void write_safetensors(const fs::path& file, std::vector<TensorBytes> tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<TensorWriter> writers;
  writers.reserve(tensors.size());
  for (TensorBytes& tensor : tensors) {
    const auto produce = [bytes = tensor.bytes](const Append& append) { append(bytes.data(), bytes.size()); };
    writers.push_back({std::move(tensor.name), tensor.dtype, std::move(tensor.shape), produce});
  }
  write_safetensors(file, std::move(writers), metadata);
}

}  // namespace lora::io
