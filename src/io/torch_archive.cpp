#include "lora/io/torch_archive.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <set>

#include "io/pickle.h"
#include "io/torch_dtype.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/zip.h"

namespace lora::io {

namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";
constexpr std::string_view kPickleName = "data.pkl";
constexpr int64_t kMaxPickleBytes = int64_t{64} << 20;
/// The beginning of a file that torch.save wrote before version 1.6: the pickle of a magic number.
constexpr std::array<unsigned char, 14> kOldMagic{0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

struct Storage {
  std::string_view global;
  at::ScalarType dtype;
};
constexpr std::array<Storage, 9> kStorages{{{"torch FloatStorage", at::kFloat},
                                            {"torch HalfStorage", at::kHalf},
                                            {"torch BFloat16Storage", at::kBFloat16},
                                            {"torch DoubleStorage", at::kDouble},
                                            {"torch LongStorage", at::kLong},
                                            {"torch IntStorage", at::kInt},
                                            {"torch ShortStorage", at::kShort},
                                            {"torch CharStorage", at::kChar},
                                            {"torch ByteStorage", at::kByte}}};

std::vector<std::string_view> allowed_globals() {
  std::vector<std::string_view> allowed{kRebuildTensor, kRebuildParameter, "collections OrderedDict"};
  for (const Storage& storage : kStorages) {
    allowed.push_back(storage.global);
  }
  return allowed;
}

/// The command that writes the same tensors as safetensors.
std::string conversion(const fs::path& file) {
  const std::string output = (file.parent_path() / (file.stem().string() + ".safetensors")).string();
  return "python -c \"import torch, safetensors.torch as s; s.save_file({k: v.clone().contiguous() for k, v in torch.load('" +
         file.string() + "', map_location='cpu', weights_only=True).items()}, '" + output + "', {'format': 'pt'})\"";
}

class TorchArchive {
 public:
  explicit TorchArchive(const fs::path& file) : map_(std::make_shared<MappedFile>(file, ErrorKind::kModel)), where_(file.string()) {
    require_zip_format();
    for (ZipMember& member : zip_members(*map_, "file written by torch.save")) {
      const std::string name = member.name;
      if (!members_.emplace(name, std::move(member)).second) {
        model_error(where_, "is damaged: found '" + printable(name) + "' twice in the archive. Copy the file again.");
      }
    }
    find_root();
    require_little_endian();
  }

  std::vector<NamedTensor> tensors() const {
    const ZipMember& member = content(root_ + std::string(kPickleName));
    if (member.size > kMaxPickleBytes) {
      model_error(where_, "the pickle is too large for an adapter: found " + std::to_string(member.size) + " bytes, expected at most " +
                              std::to_string(kMaxPickleBytes));
    }
    const Pickle pickle(bytes_of(member), allowed_globals(), where_);
    if (pickle.value().kind != Kind::kDict) {
      model_error(where_, "is not a dict of tensors");
    }
    std::vector<NamedTensor> tensors;
    std::set<std::string_view> names;
    const std::vector<const PickleValue*>& items = pickle.value().items;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (items[i]->kind != Kind::kString || !names.insert(items[i]->text).second) {
        model_error(where_, "is not a dict of tensors by name: found a key that is not a string or occurs twice");
      }
      const std::string name(items[i]->text);
      tensors.push_back({name, tensor_of(*items[i + 1], name)});
    }
    return tensors;
  }

 private:
  void require_zip_format() const {
    if (map_->size() >= kOldMagic.size() && std::memcmp(map_->data(), kOldMagic.data(), kOldMagic.size()) == 0) {
      model_error(where_,
                  "has the format of torch.save before version 1.6, which is not supported. Convert it once: " + conversion(map_->path()));
    }
  }

  void find_root() {
    int found = 0;
    for (const auto& [name, member] : members_) {
      if (name == kPickleName || name.ends_with("/" + std::string(kPickleName))) {
        root_ = name.substr(0, name.size() - kPickleName.size());
        ++found;
      }
    }
    if (found != 1 || members_.count(root_ + "constants.pkl") > 0) {
      model_error(where_, "is not a dict of tensors written by torch.save: found " +
                              std::string(found == 1 ? "a TorchScript module" : "a zip archive without exactly one data.pkl"));
    }
  }

  void require_little_endian() const {
    const auto found = members_.find(root_ + "byteorder");
    if (found != members_.end() && bytes_of(content(found->first)) != "little") {
      model_error(where_, "was written on a big-endian machine, which is not supported. Convert it once: " + conversion(map_->path()));
    }
  }

  /// The member, after its checksum has been verified.
  const ZipMember& content(const std::string& name) const {
    const auto found = members_.find(name);
    if (found == members_.end() || found->second.is_deflated) {
      model_error(where_, "is damaged: '" + printable(name) + (found == members_.end() ? "' is missing" : "' is compressed") +
                              " in the archive. Copy the file again.");
    }
    if (checked_.insert(name).second) {
      require_content(*map_, found->second);
    }
    return found->second;
  }
  std::string_view bytes_of(const ZipMember& member) const {
    return {reinterpret_cast<const char*>(map_->data()) + member.offset, static_cast<size_t>(member.size)};
  }

  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    model_error(where_ + ": '" + printable(name, 120) + "'", what);
  }

  Tensor tensor_of(const PickleValue& value, const std::string& name) const {
    if (value.is_call_of(kRebuildParameter) && !value.items[1]->items.empty()) {
      return plain_tensor(*value.items[1]->items[0], name);
    }
    return plain_tensor(value, name);
  }

  /// _rebuild_tensor_v2(storage, offset, sizes, strides, …)
  Tensor plain_tensor(const PickleValue& value, const std::string& name) const {
    if (!value.is_call_of(kRebuildTensor) || value.items[1]->items.size() < 4) {
      fail(name, "is not a plain tensor, expected a dict that holds only tensors");
    }
    const std::vector<const PickleValue*>& arguments = value.items[1]->items;
    const std::vector<int64_t> sizes = integers(*arguments[2], name);
    const std::vector<int64_t> strides = integers(*arguments[3], name);
    if (arguments[1]->kind != Kind::kInteger || arguments[1]->integer < 0 || sizes.size() != strides.size() ||
        sizes.size() > kMaxDimensions) {
      fail(name, "is a damaged tensor: its sizes and strides do not match");
    }
    return view_of(*arguments[0], arguments[1]->integer, sizes, strides, name);
  }

  std::vector<int64_t> integers(const PickleValue& tuple, const std::string& name) const {
    std::vector<int64_t> result;
    for (const PickleValue* item : tuple.items) {
      if (item->kind != Kind::kInteger || item->integer < 0) {
        fail(name, "is a damaged tensor: found a size or stride that is not a non-negative integer");
      }
      result.push_back(item->integer);
    }
    return result;
  }

  /// A view of a storage ('storage', type, key, device, count), which is the member data/<key>.
  Tensor view_of(const PickleValue& persistent, int64_t offset, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                 const std::string& name) const {
    const bool is_storage = persistent.kind == Kind::kPersistent && persistent.items[0]->kind == Kind::kTuple &&
                            persistent.items[0]->items.size() >= 3 && persistent.items[0]->items[1]->kind == Kind::kGlobal;
    const auto* const storage =
        is_storage ? std::find_if(kStorages.begin(), kStorages.end(),
                                  [&](const Storage& known) { return known.global == persistent.items[0]->items[1]->text; })
                   : kStorages.end();
    if (storage == kStorages.end()) {
      fail(name, "is a damaged tensor: its storage does not hold numbers");
    }
    const ZipMember& member = content(root_ + "data/" + std::string(persistent.items[0]->items[2]->text));
    const auto element = static_cast<int64_t>(c10::elementSize(storage->dtype));
    const int64_t available = member.size / element;
    if (!fits(offset, sizes, strides, available)) {
      fail(name, "is a damaged tensor: it extends past its " + std::to_string(available) + " stored numbers");
    }
    std::byte* const bytes = map_->data() + member.offset;
    const at::TensorOptions options = at::TensorOptions().dtype(storage->dtype).device(at::kCPU);
    if (available == 0) {
      return at::empty(sizes, options);
    }
    Tensor flat = at::from_blob(
        bytes, {available}, [keep_alive = map_](void*) {}, options);
    if (reinterpret_cast<uintptr_t>(bytes) % static_cast<size_t>(element) != 0) {
      flat = at::empty({available}, options);
      std::memcpy(flat.mutable_data_ptr(), bytes, static_cast<size_t>(available * element));
    }
    return flat.as_strided(sizes, strides, offset);
  }

  /// Whether the tensor is within `available` elements and has at most that many itself (a stride of 0 could repeat one).
  static bool fits(int64_t offset, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides, int64_t available) {
    int64_t count = 1;
    int64_t last = offset;
    bool is_empty = false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      int64_t step = 0;
      is_empty = is_empty || sizes[i] == 0;
      if (__builtin_mul_overflow(count, std::max<int64_t>(sizes[i], 1), &count) ||
          __builtin_mul_overflow(std::max<int64_t>(sizes[i], 1) - 1, strides[i], &step) || __builtin_add_overflow(last, step, &last)) {
        return false;
      }
    }
    return is_empty ? offset <= available : count <= available && last < available;
  }

  std::shared_ptr<MappedFile> map_;  // shared with the tensors
  std::string where_;
  std::map<std::string, ZipMember> members_;
  std::string root_;
  mutable std::set<std::string> checked_;
};

}  // namespace

std::vector<NamedTensor> load_torch_archive(const fs::path& file) {
  return TorchArchive(file).tensors();
}

}  // namespace lora::io
