// The container: header, key-value pairs, descriptions of the tensors.
#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "io/gguf_types.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"
#include "lora/io/gguf.h"
#include "lora/io/gguf_file.h"
#include "lora/io/tensor_facts.h"

namespace lora::io {

namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kArray = 9;
constexpr uint32_t kText = 8;
constexpr uint32_t kMaxReadDimensions = 4;
constexpr int64_t kMaxParts = 4096;

/// Bytes of a value by its type's number; 0: a string or an array.
constexpr std::array<size_t, 13> kValueBytes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
/// The least that an entry can take in the file, by which counts are checked before anything is reserved.
constexpr uint64_t kLeastPair = 8 + 4 + 1;
constexpr uint64_t kLeastTensor = 8 + 4 + 4 + 8;

const GgufType* find_type(uint32_t id) {
  const auto found = std::find_if(kGgufTypes.begin(), kGgufTypes.end(), [id](const GgufType& type) { return type.id == id; });
  return found == kGgufTypes.end() ? nullptr : &*found;
}

}  // namespace

/// Reads one part from its start.
class GgufFile::Parser {
 public:
  Parser(GgufFile& model, size_t part)
      : model_(model),
        part_(part),
        where_(model.parts_[part]->path().string()),
        bytes_(reinterpret_cast<const char*>(model.parts_[part]->data()), model.parts_[part]->size()) {}

  /// @param keeps_values whether the part's metadata is the model's.
  void read(bool keeps_values) {
    const auto [num_tensors, num_pairs] = read_header();
    for (uint64_t i = 0; i < num_pairs; ++i) {
      read_pair(keeps_values);
    }
    const size_t first = model_.tensors_.size();
    for (uint64_t i = 0; i < num_tensors; ++i) {
      read_tensor();
    }
    place_tensors(first);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { model_error(where_, message); }

  std::string_view take(uint64_t size, const char* what) {
    if (size > bytes_.size() - at_) {
      fail(std::string("is a GGUF file that ends inside ") + what + ": found " + std::to_string(bytes_.size()) +
           " bytes, expected at least " + (size > UINT64_MAX / 2 ? "2^63" : std::to_string(at_ + size)) +
           ". Likely cause: an incomplete download, or a damaged file.");
    }
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }
  template <typename Number>
  Number number(const char* what) {
    Number value;
    std::memcpy(&value, take(sizeof(Number), what).data(), sizeof(Number));
    return value;
  }
  std::string_view text(const char* what) { return take(number<uint64_t>(what), what); }

  void require_room(uint64_t count, uint64_t least, const char* what) const {
    if (count > (bytes_.size() - at_) / least) {
      fail("found a count of " + std::to_string(count) + " " + what + ", more than fit in its " + std::to_string(bytes_.size()) +
           " bytes. Likely cause: an incomplete download, or a damaged file.");
    }
  }

  std::pair<uint64_t, uint64_t> read_header() {
    if (!bytes_.starts_with(kMagic)) {
      fail("is not a GGUF file: found '" + printable(bytes_.substr(0, kMagic.size())) + "' at its start, expected 'GGUF'");
    }
    at_ = kMagic.size();
    const auto version = number<uint32_t>("its header");
    if (version != 2 && version != 3) {
      const bool is_big = version != 0 && (version & 0xffff) == 0;
      fail(is_big ? "is a big-endian GGUF file, expected a little-endian one"
                  : "found GGUF version " + std::to_string(version) + ", expected 2 or 3. Convert the model again.");
    }
    const auto tensors = number<uint64_t>("its header");
    const auto pairs = number<uint64_t>("its header");
    require_room(tensors, kLeastTensor, "tensors");
    require_room(pairs, kLeastPair, "metadata keys");
    return {tensors, pairs};
  }

  void read_pair(bool keeps_values) {
    const std::string key(text("a metadata key"));
    Value value;
    value.type = number<uint32_t>("a metadata value");
    if (value.type == kArray) {
      value.element = number<uint32_t>("a metadata array");
      value.count = number<uint64_t>("a metadata array");
    }
    const uint32_t single = value.type == kArray ? value.element : value.type;
    if (single >= kValueBytes.size() || single == kArray) {
      fail("metadata key '" + printable(key, 120) + "': found " +
           (single == kArray ? "an array of arrays" : "the value type " + std::to_string(single)) +
           ", expected a number, a string, or an array of them");
    }
    value.bytes = value.type == kArray ? array_bytes(value)
                  : single == kText    ? text("a metadata string")
                                       : take(kValueBytes[single], "a metadata value");
    if (key == "general.alignment") {
      take_alignment(value);
    }
    if (!seen_.insert(key).second) {
      fail("metadata key '" + printable(key, 120) + "' occurs twice");
    }
    if (keeps_values) {
      model_.values_.emplace(key, value);
    }
  }

  std::string_view array_bytes(const Value& value) {
    if (value.element != kText) {
      require_room(value.count, kValueBytes[value.element], "elements of an array");
      return take(value.count * kValueBytes[value.element], "a metadata array");
    }
    require_room(value.count, sizeof(uint64_t), "elements of an array");
    const size_t begin = at_;
    for (uint64_t i = 0; i < value.count; ++i) {
      text("a metadata array");
    }
    return bytes_.substr(begin, at_ - begin);
  }

  void take_alignment(const Value& value) {
    uint32_t alignment = 0;
    if (value.type == 4) {
      std::memcpy(&alignment, value.bytes.data(), sizeof(alignment));
    }
    if (!std::has_single_bit(alignment)) {
      fail("general.alignment: found " + std::to_string(alignment) + ", expected a power of two");
    }
    alignment_ = alignment;
  }

  void read_tensor() {
    GgufTensor tensor;
    tensor.name = std::string(text("a tensor's name"));
    tensor.part = part_;
    const std::string place = "tensor '" + printable(tensor.name, 120) + "': ";
    const auto dimensions = number<uint32_t>("a tensor's description");
    if (dimensions > kMaxReadDimensions) {
      fail(place + "found " + std::to_string(dimensions) + " dimensions, expected at most 4");
    }
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = number<uint64_t>("a tensor's description");
      if (size > static_cast<uint64_t>(INT64_MAX)) {
        fail(place + "found a dimension of " + std::to_string(size) + ", expected one below 2^63");
      }
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto type = number<uint32_t>("a tensor's description");
    tensor.type = find_type(type);
    tensor.begin = number<uint64_t>("a tensor's description");
    if (tensor.type == nullptr) {
      fail(place + "found the ggml type " + std::to_string(type) + ", which is not known");
    }
    tensor.bytes = byte_count(tensor, place);
    if (!names_.insert(tensor.name).second) {
      fail(place + "occurs twice");
    }
    model_.tensors_.push_back(std::move(tensor));
  }

  size_t byte_count(const GgufTensor& tensor, const std::string& place) const {
    const int64_t width = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (width % tensor.type->elements != 0) {
      fail(place + "found rows of " + std::to_string(width) + " elements, expected a multiple of " + std::to_string(tensor.type->elements) +
           " for " + tensor.type->name);
    }
    int64_t bytes = tensor.type->bytes;
    bool fits = !__builtin_mul_overflow(bytes, std::max<int64_t>(width / tensor.type->elements, 1), &bytes);
    for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
      fits = fits && !__builtin_mul_overflow(bytes, std::max<int64_t>(tensor.shape[i], 1), &bytes);
    }
    if (!fits) {
      fail(place + "found shape " + shape_text(tensor.shape) + ", which is too large for 64 bits");
    }
    return std::count(tensor.shape.begin(), tensor.shape.end(), 0) > 0 ? 0 : static_cast<size_t>(bytes);
  }

  /// Offsets are relative to the first aligned byte after the descriptions.
  void place_tensors(size_t first) {
    const uint64_t data = (at_ + uint64_t{alignment_} - 1) / alignment_ * alignment_;
    for (size_t i = first; i < model_.tensors_.size(); ++i) {
      GgufTensor& tensor = model_.tensors_[i];
      const std::string place = "tensor '" + printable(tensor.name, 120) + "': ";
      if (tensor.begin % alignment_ != 0) {
        fail(place + "begins at byte " + std::to_string(tensor.begin) + " of the data, expected a multiple of " +
             std::to_string(alignment_));
      }
      const uint64_t room = bytes_.size() > data ? bytes_.size() - data : 0;
      if (tensor.begin > room || tensor.bytes > room - tensor.begin) {
        fail(place + "lies outside the file: found " + std::to_string(room) + " bytes of data, expected " + std::to_string(tensor.bytes) +
             " from byte " + std::to_string(tensor.begin) + " on. Likely cause: an incomplete download.");
      }
      tensor.begin += data;
    }
  }

  GgufFile& model_;
  size_t part_;
  std::string where_;
  std::string_view bytes_;
  uint64_t at_ = 0;
  uint32_t alignment_ = kGgufAlignment;
  std::set<std::string> seen_;
  std::set<std::string> names_;
};

GgufFile::GgufFile(const fs::path& file) : path_(file) {
  parts_.push_back(std::make_shared<MappedFile>(file, ErrorKind::kModel));
  Parser(*this, 0).read(/*keeps_values=*/true);
  open_parts();
}

GgufFile::~GgufFile() = default;

void GgufFile::open_parts() {
  const int64_t count = integer("split.count", 1);
  if (count <= 1) {
    return;
  }
  const auto ending = [count](int64_t part) {
    const auto digits = [](int64_t number) {
      const std::string text = std::to_string(number);
      return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
    };
    return "-" + digits(part) + "-of-" + digits(count) + ".gguf";
  };
  const std::string name = path_.filename().string();
  if (count > kMaxParts || !name.ends_with(ending(1))) {
    model_error(path_.string(), "is a part of a model that is split into " + std::to_string(count) +
                                    " files: expected the first one, with a name that ends with " + ending(1));
  }
  for (int64_t part = 2; part <= count; ++part) {
    const fs::path file = path_.parent_path() / (name.substr(0, name.size() - ending(1).size()) + ending(part));
    parts_.push_back(std::make_shared<MappedFile>(file, ErrorKind::kModel));
    Parser(*this, parts_.size() - 1).read(/*keeps_values=*/false);
  }
  std::set<std::string> names;
  for (const GgufTensor& tensor : tensors_) {
    if (!names.insert(tensor.name).second) {
      model_error(path_.string(), "tensor '" + printable(tensor.name, 120) + "' occurs in two of its files");
    }
  }
}

std::vector<fs::path> GgufFile::files() const {
  std::vector<fs::path> files;
  for (const auto& part : parts_) {
    files.push_back(part->path());
  }
  return files;
}

bool is_gguf(const fs::path& file) {
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) && first_bytes(file, kMagic.size()) == kMagic;
}

}  // namespace lora::io
