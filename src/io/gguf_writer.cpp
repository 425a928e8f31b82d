#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <set>

#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/io/gguf.h"
#include "lora/io/tensor_facts.h"

namespace lora::io {

namespace {

constexpr uint32_t kVersion = 3;
constexpr int64_t kMaxGgufDimensions = 4;

/// ggml's numbers of the value types, in the order of GgufValue.
enum class ValueType : uint32_t { kUint32 = 4, kFloat32 = 6, kString = 8 };
constexpr std::array<ValueType, std::variant_size_v<GgufValue>> kValueTypes{ValueType::kUint32, ValueType::kFloat32, ValueType::kString};

struct TensorType {
  at::ScalarType torch;
  uint32_t ggml;
};
constexpr std::array<TensorType, 3> kTensorTypes{{{at::kFloat, 0}, {at::kHalf, 1}, {at::kBFloat16, 30}}};

uint32_t ggml_type(const NamedTensor& named, const fs::path& file) {
  for (const TensorType& type : kTensorTypes) {
    if (named.tensor.scalar_type() == type.torch) {
      return type.ggml;
    }
  }
  output_error(file.string(), "cannot hold tensor '" + printable(named.name) + "': found dtype " + dtype_name(named.tensor.scalar_type()) +
                                  ", expected float32, float16 or bfloat16");
}

size_t aligned(size_t size) {
  return (size + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

/// Builds the part before the tensors' bytes in memory.
class HeaderWriter {
 public:
  template <typename Number>
  void number(Number value) {
    static_assert(std::is_arithmetic_v<Number>);
    std::array<char, sizeof(Number)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof(Number));  // all supported machines are little-endian, like the format
    bytes_.append(bytes.data(), bytes.size());
  }
  void text(const std::string& value) {
    number<uint64_t>(value.size());
    bytes_ += value;
  }
  void value(const GgufValue& value) {
    number(static_cast<uint32_t>(kValueTypes.at(value.index())));
    if (const auto* whole = std::get_if<uint32_t>(&value)) {
      number(*whole);
    } else if (const auto* real = std::get_if<float>(&value)) {
      number(*real);
    } else {
      text(std::get<std::string>(value));
    }
  }
  void pad() { bytes_.resize(aligned(bytes_.size()), '\0'); }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_ = "GGUF";
};

void require_valid_names(const GgufKeys& keys, const std::vector<NamedTensor>& tensors, const fs::path& file) {
  std::set<std::string> seen;
  const auto see = [&](const std::string& kind, const std::string& name) {
    if (!seen.insert(kind + " " + name).second) {
      output_error(file.string(), "cannot hold duplicate names: found the " + kind + " '" + printable(name) + "' twice");
    }
  };
  for (const auto& [key, value] : keys) {
    see("key", key);
  }
  for (const NamedTensor& named : tensors) {
    see("tensor", named.name);
    if (named.name.size() > kMaxGgufTensorName) {
      output_error(file.string(), "cannot hold tensor '" + printable(named.name, 100) + "': found a name of " +
                                      std::to_string(named.name.size()) + " bytes, expected at most " + std::to_string(kMaxGgufTensorName));
    }
    if (named.tensor.dim() < 1 || named.tensor.dim() > kMaxGgufDimensions) {
      output_error(file.string(), "cannot hold tensor '" + printable(named.name) + "': found shape " + shape_text(named.tensor.sizes()) +
                                      ", expected one to four dimensions");
    }
  }
}

std::string gguf_header(const GgufKeys& keys, const std::vector<NamedTensor>& tensors, const fs::path& file) {
  HeaderWriter header;
  header.number(kVersion);
  header.number<uint64_t>(tensors.size());
  header.number<uint64_t>(keys.size());
  for (const auto& [key, value] : keys) {
    header.text(key);
    header.value(value);
  }
  uint64_t offset = 0;
  for (const NamedTensor& named : tensors) {
    header.text(named.name);
    header.number(static_cast<uint32_t>(named.tensor.dim()));
    for (int64_t dimension = named.tensor.dim(); dimension-- > 0;) {
      header.number(static_cast<uint64_t>(named.tensor.size(dimension)));
    }
    header.number(ggml_type(named, file));
    header.number(offset);
    offset += aligned(named.tensor.nbytes());
  }
  header.pad();
  return std::move(header.bytes());
}

}  // namespace

void write_gguf(const fs::path& file, const GgufKeys& keys, const std::vector<NamedTensor>& tensors) {
  require_valid_names(keys, tensors, file);
  const std::string header = gguf_header(keys, tensors, file);
  write_file_atomically(file, [&](const Append& append) {
    append(header.data(), header.size());
    for (const NamedTensor& named : tensors) {
      const at::Tensor flat = named.tensor.detach().to(at::kCPU).contiguous();
      append(flat.const_data_ptr(), flat.nbytes());
      const std::string padding(aligned(flat.nbytes()) - flat.nbytes(), '\0');
      append(padding.data(), padding.size());
    }
  });
}

}  // namespace lora::io
