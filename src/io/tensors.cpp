#include "lora/io/tensors.h"

#include <ATen/ATen.h>

#include <cstring>
#include <unordered_map>

#include "io/safetensors_format.h"
#include "io/torch_dtype.h"
#include "lora/base/text.h"

namespace lora::io {

namespace {

/// The byte of a C++ bool must be 0 or 1: any other value in a file would cause undefined behaviour.
void require_booleans(const std::byte* bytes, size_t size, const std::string& where) {
  for (size_t i = 0; i < size; ++i) {
    if (std::to_integer<int>(bytes[i]) > 1) {
      model_error(where, "found the byte " + std::to_string(std::to_integer<int>(bytes[i])) + " in a BOOL tensor, expected 0 or 1");
    }
  }
}

}  // namespace

struct SafetensorsFile::Impl {
  explicit Impl(const fs::path& file)
      : map(std::make_shared<MappedFile>(file, ErrorKind::kModel)),
        header(parse_header({reinterpret_cast<const char*>(map->data()), map->size()}, file.string())) {
    for (const TensorEntry& entry : header.tensors) {
      entries.emplace(entry.name, &entry);
    }
  }

  std::string where(const std::string& name) const { return map->path().string() + ": tensor '" + printable(name, 120) + "'"; }

  const TensorEntry& entry(const std::string& name) const {
    const auto found = entries.find(name);
    if (found == entries.end()) {
      std::vector<std::string> known;
      for (const TensorEntry& tensor : header.tensors) {
        known.push_back(tensor.name);
      }
      model_error(where(name), "is missing" + did_you_mean(name, known));
    }
    return *found->second;
  }

  std::shared_ptr<MappedFile> map;  // shared with the tensors
  Header header;
  std::unordered_map<std::string_view, const TensorEntry*> entries;
};

SafetensorsFile::SafetensorsFile(const fs::path& file) : impl_(std::make_shared<Impl>(file)) {}

SafetensorsFile::~SafetensorsFile() = default;

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  for (const TensorEntry& entry : impl_->header.tensors) {
    result.push_back(entry.name);
  }
  return result;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return impl_->entries.count(name) > 0;
}

std::vector<int64_t> SafetensorsFile::shape(const std::string& name) const {
  return impl_->entry(name).shape;
}

const TensorEntry& SafetensorsFile::entry(const std::string& name) const {
  return impl_->entry(name);
}

void SafetensorsFile::release(const std::string& name) const {
  const TensorEntry& entry = impl_->entry(name);
  impl_->map->release(impl_->header.data_offset + entry.begin, entry.end - entry.begin);
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return impl_->header.metadata;
}

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const TensorEntry& entry = impl_->entry(name);
  const std::optional<Dtype> dtype = kDtypes.find(entry.dtype_name);
  if (!dtype) {
    std::vector<std::string> known = kDtypes.names();
    model_error(impl_->where(name), "found dtype '" + printable(entry.dtype_name) + "', expected one of " + join(known));
  }
  if (entry.shape.size() > kMaxDimensions) {
    model_error(impl_->where(name), "found " + std::to_string(entry.shape.size()) + " dimensions, expected at most 64");
  }
  const at::TensorOptions options = at::TensorOptions().dtype(torch_dtype(*dtype)).device(at::kCPU);
  const size_t size = entry.end - entry.begin;
  if (size == 0) {
    return at::empty(entry.shape, options);
  }
  std::byte* bytes = impl_->map->data() + impl_->header.data_offset + entry.begin;
  if (*dtype == Dtype::kBool) {
    require_booleans(bytes, size, impl_->where(name));
  }
  if (reinterpret_cast<uintptr_t>(bytes) % static_cast<size_t>(size_of(*dtype)) != 0) {
    Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.mutable_data_ptr(), bytes, size);
    return copy;
  }
  return at::from_blob(
      bytes, entry.shape, [keep_alive = impl_->map](void*) {}, options);
}

void save_tensors(const fs::path& file, const std::vector<NamedTensor>& tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<TensorWriter> writers;
  writers.reserve(tensors.size());
  for (const NamedTensor& named : tensors) {
    const std::optional<Dtype> dtype = named.tensor.defined() ? file_dtype(named.tensor.scalar_type()) : std::nullopt;
    if (!dtype) {
      output_error(file.string(), "cannot hold tensor '" + printable(named.name) + "': its dtype is not one of " + join(kDtypes.names()));
    }
    // Tensors are copied to the CPU one at a time, while they are written.
    const auto produce = [tensor = named.tensor](const Append& append) {
      const Tensor flat = tensor.detach().to(at::kCPU).contiguous();
      append(flat.const_data_ptr(), flat.nbytes());
    };
    writers.push_back({named.name, *dtype, named.tensor.sizes().vec(), produce});
  }
  write_safetensors(file, std::move(writers), metadata);
}

}  // namespace lora::io
