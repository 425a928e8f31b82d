#include "lora/io/checkpoint.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "io/safetensors_format.h"
#include "io/torch_dtype.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/io/safetensors.h"
#include "lora/io/tensor_facts.h"
#include "lora/io/tensors.h"

namespace lora::io {

namespace {

/// Whether there is an entry of this name, even a dangling link: opening it then reports what is wrong.
bool is_named(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// Names of the files in `folder`, sorted. Throws model Error if it cannot be listed.
std::vector<std::string> file_names(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names = names_in(folder, error);
  if (error) {
    model_error(folder.string(), "cannot be read as a model folder: " + error.message());
  }
  return names;
}

/// Throws with the reason why the folder has no weights that can be read.
[[noreturn]] void no_weights(const fs::path& folder, const WeightFileNames& expected) {
  const std::vector<std::string> names = file_names(folder);
  const auto is_pickle = [](const std::string& name) { return name.starts_with("pytorch_model") && name.ends_with(".bin"); };
  if (std::any_of(names.begin(), names.end(), is_pickle)) {
    model_error(
        folder.string(),
        "found pytorch_model.bin, expected model.safetensors, because pickled weights can run code when they are read. Convert them "
        "once in Python: from transformers import AutoModelForCausalLM as M; M.from_pretrained('" +
            folder.string() + "').save_pretrained('" + folder.string() + "', safe_serialization=True)");
  }
  std::vector<std::string> others;
  std::copy_if(names.begin(), names.end(), std::back_inserter(others), [](const auto& name) { return name.ends_with(".safetensors"); });
  const std::string found = others.empty() ? "found no weights" : "found " + join(others, ", ", 5);
  model_error(folder.string(), found + ", expected " + expected.single + " or " + expected.index);
}

/// A shard must be in the folder itself: an untrusted index must not name any other file on the machine.
void require_valid_shard_name(const std::string& shard, const std::string& tensor, const fs::path& index) {
  const bool leaves_folder =
      shard.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos || shard.find("..") != std::string::npos;
  if (leaves_folder || shard.empty() || shard == ".") {
    model_error(index.string() + ": weight_map." + printable(tensor, 120),
                "found the file name '" + printable(shard, 120) + "', expected a plain name in the same folder");
  }
}

}  // namespace

struct SafetensorsCheckpoint::Impl {
  fs::path folder;
  WeightFileNames file_names;
  std::vector<fs::path> files;
  std::vector<SafetensorsFile> shards;
  std::unordered_map<std::string, size_t> shard_of;  ///< from a tensor's name to its index in `shards`
  std::vector<std::string> unlisted;
  std::map<std::string, std::string> absent;  ///< from a tensor to the file that holds it according to the index

  size_t open_shard(const std::string& name) {
    files.push_back(folder / name);
    shards.emplace_back(files.back());
    return shards.size() - 1;
  }
  void open_single() {
    const size_t shard = open_shard(file_names.single);
    for (const std::string& name : shards[shard].names()) {
      shard_of.emplace(name, shard);
    }
  }
  void open_index();
  void add_unlisted();
  const SafetensorsFile* find_shard(const std::string& name) const;  ///< null if there is no such tensor
};

void SafetensorsCheckpoint::Impl::open_index() {
  const fs::path index = folder / file_names.index;
  const Json json = read_json(index, ErrorKind::kModel);
  const Json& weight_map = JsonReader(json, index.string(), ErrorKind::kModel).at("weight_map");
  if (!weight_map.is_object()) {
    model_error(index.string() + ": weight_map", "found " + type_name(weight_map) + ", expected an object {tensor: file name}");
  }
  files.push_back(index);
  std::unordered_map<std::string, size_t> opened;
  for (const auto& [tensor, value] : weight_map.get_ref<const Json::object_t&>()) {
    if (!value.is_string()) {
      model_error(index.string() + ": weight_map." + printable(tensor, 120), "found " + shown(value) + ", expected a file name");
    }
    const std::string& name = value.get_ref<const std::string&>();
    auto known = opened.find(name);
    if (known == opened.end()) {
      require_valid_shard_name(name, tensor, index);
      if (!is_named(folder / name)) {
        model_error((folder / name).string(),
                    "is missing, but " + file_names.index + " lists it. Likely cause: an incomplete download or copy.");
      }
      known = opened.emplace(name, open_shard(name)).first;
    }
    if (shards[known->second].contains(tensor)) {
      shard_of.emplace(tensor, known->second);
    } else {
      absent.emplace(tensor, name);
    }
  }
  add_unlisted();
}

/// transformers reads every tensor in the files of an index, whether or not the index lists it for that file.
void SafetensorsCheckpoint::Impl::add_unlisted() {
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    for (const std::string& name : shards[shard].names()) {
      if (shard_of.emplace(name, shard).second && absent.erase(name) == 0) {
        unlisted.push_back(name);
      }
    }
  }
  std::sort(unlisted.begin(), unlisted.end());
}

const SafetensorsFile* SafetensorsCheckpoint::Impl::find_shard(const std::string& name) const {
  const auto found = shard_of.find(name);
  if (const auto listed = absent.find(name); listed != absent.end()) {
    model_error((folder / listed->second).string() + ": tensor '" + printable(name, 120) + "'",
                "is missing, but " + file_names.index + " lists it for this file. Likely cause: files of two versions are mixed.");
  }
  return found == shard_of.end() ? nullptr : &shards[found->second];
}

SafetensorsCheckpoint::SafetensorsCheckpoint(const fs::path& folder, const WeightFileNames& names)
    : Checkpoint(folder), impl_(std::make_unique<Impl>()) {
  impl_->folder = folder;
  impl_->file_names = names;
  if (!names.single.empty() && is_named(folder / names.single)) {
    impl_->open_single();
  } else if (!names.index.empty() && is_named(folder / names.index)) {
    impl_->open_index();
  } else {
    no_weights(folder, names);
  }
}

SafetensorsCheckpoint::~SafetensorsCheckpoint() = default;

TensorFacts SafetensorsCheckpoint::facts(const std::string& name) const {
  const TensorEntry& entry = shard(name).entry(name);
  const std::optional<Dtype> dtype = kDtypes.find(entry.dtype_name);
  return {entry.shape, entry.dtype_name, dtype ? torch_dtype(*dtype) : at::ScalarType::Undefined,
          static_cast<int64_t>(entry.end - entry.begin)};
}

StoredWeight SafetensorsCheckpoint::stored(const std::string& name) const {
  return {shard(name).tensor(name)};
}

const SafetensorsFile& SafetensorsCheckpoint::shard(const std::string& name) const {
  const SafetensorsFile* const found = impl_->find_shard(name);
  if (found == nullptr) {
    no_such_tensor(name);
  }
  return *found;
}

bool SafetensorsCheckpoint::contains(const std::string& name) const {
  return impl_->shard_of.count(name) > 0;
}

std::vector<std::string> SafetensorsCheckpoint::names() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < impl_->shards.size(); ++i) {
    for (const std::string& name : impl_->shards[i].names()) {
      const auto found = impl_->shard_of.find(name);
      if (found != impl_->shard_of.end() && found->second == i) {  // if two files hold the tensor, the index decides
        names.push_back(name);
      }
    }
  }
  return names;
}

void SafetensorsCheckpoint::release(const std::string& name) const {
  shard(name).release(name);
}

std::string SafetensorsCheckpoint::fingerprint() const {
  const std::map<std::string, size_t> sorted(impl_->shard_of.begin(), impl_->shard_of.end());
  Sha256 digest;
  for (const auto& [name, shard] : sorted) {
    const Tensor tensor = impl_->shards[shard].tensor(name);
    add_to_fingerprint(digest, name + '\n' + c10::toString(tensor.scalar_type()) + shape_text(tensor.sizes()) + '\n', tensor);
  }
  return digest.hexadecimal();
}

std::vector<std::string> SafetensorsCheckpoint::notes() const {
  const std::string index = impl_->file_names.index + " ";
  std::vector<std::string> notes;
  if (const std::vector<std::string> names = absent(); !names.empty()) {
    notes.push_back(index + "names tensors that no file holds: " + some_names(names));
  }
  if (!impl_->unlisted.empty()) {
    notes.push_back(index + "does not name some tensors of its files: " + some_names(impl_->unlisted) + ". They are read nevertheless.");
  }
  return notes;
}

std::vector<std::string> SafetensorsCheckpoint::absent() const {
  std::vector<std::string> names;
  for (const auto& [tensor, file] : impl_->absent) {
    names.push_back(tensor);
  }
  return names;
}

std::vector<std::string> SafetensorsCheckpoint::unlisted() const {
  return impl_->unlisted;
}

std::vector<fs::path> SafetensorsCheckpoint::files() const {
  return impl_->files;
}

}  // namespace lora::io
