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
/// copies nothing; writing produces the same bytes as Python's safetensors. Non-goal: torch tensors (see tensors.h).

struct TensorEntry {
  std::string name;
  std::string dtype_name;  ///< as in the file; a dtype that is not in kDtypes is an error only when the tensor is used
  std::vector<int64_t> shape;
  size_t begin = 0;  ///< byte offset in the data section
  size_t end = 0;
};

struct Header {
  std::vector<TensorEntry> tensors;  ///< by offset
  std::map<std::string, std::string> metadata;
  size_t data_offset = 0;  ///< of the data section in the file
};

/// Parses and checks the header of a whole file, given as bytes. Throws model Error naming `where` for: a length below
/// 2, above 100,000,000 or past the end; a header that is not a UTF-8 JSON object beginning with '{'; duplicate keys;
/// metadata other than strings; a shape or offsets that overflow; offsets that overlap, leave a hole, do not match shape and
/// dtype, or do not end at the end of the file.
Header parse_header(std::string_view file, const std::string& where);

struct TensorBytes {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::string_view bytes;
};

/// Writes the file atomically, byte-identical to Python's `safetensors.numpy.save_file`. `tensors` may have any order.
void write_safetensors(const fs::path& file, std::vector<TensorBytes> tensors, const std::map<std::string, std::string>& metadata);

/// A tensor to write whose bytes are produced while it is written, so that only one copy is in memory at a time.
struct TensorWriter {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::function<void(const Append&)> produce;  ///< appends exactly as many bytes as shape and dtype require
};

/// The same for tensors that are produced one after the other, in the order of the file.
void write_safetensors(const fs::path& file, std::vector<TensorWriter> tensors, const std::map<std::string, std::string>& metadata);

}  // namespace lora::io
