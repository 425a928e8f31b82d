#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/file.h"
#include "lora/io/dtype.h"

namespace lora::io {

/// The safetensors container (github.com/huggingface/safetensors, README "Format"): 8 bytes little-endian header
/// length, JSON header, tensors end to end. Goals: every rule of the format is checked before a byte is used; reading
/// copies nothing; writing gives the bytes that Python's safetensors gives. Non-goal: tensors as torch knows them
/// (tensors.h).

struct TensorEntry {
  std::string name;
  std::string dtype_name;  ///< as written; known dtypes are in kDtypes, others are an error only when needed
  std::vector<int64_t> shape;
  size_t begin = 0;  ///< byte offsets in the data section
  size_t end = 0;
};

struct Header {
  std::vector<TensorEntry> tensors;  ///< by offset
  std::map<std::string, std::string> metadata;
  size_t data_offset = 0;  ///< of the data section in the file
};

/// Parses and checks the header of a whole file given as bytes. Throws model Error naming `where` for: a length below
/// 2, above 100,000,000 or past the end; a header that is not a UTF-8 JSON object beginning with '{'; duplicate keys;
/// metadata that is not string to string; a shape or offsets that overflow; offsets that overlap, leave a hole, do
/// not match shape and dtype, or do not end at the end of the file.
Header parse_header(std::string_view file, const std::string& where);

struct TensorBytes {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::string_view bytes;
};

/// Writes the file atomically; byte-identical to Python's `safetensors.numpy.save_file`. Order of `tensors` is free.
void write_safetensors(const fs::path& file, std::vector<TensorBytes> tensors, const std::map<std::string, std::string>& metadata);

/// A tensor to write whose bytes are made when their turn comes, so that no two copies need to be in memory at once.
struct TensorWriter {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::function<void(const Append&)> produce;  ///< appends exactly the bytes that shape and dtype say
};

/// As write_safetensors, for tensors produced one after the other, in the order of the file.
void write_safetensors(const fs::path& file, std::vector<TensorWriter> tensors, const std::map<std::string, std::string>& metadata);

}  // namespace lora::io
