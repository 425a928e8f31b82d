#include "models/gguf_checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "lora/base/text.h"
#include "lora/io/gguf_architecture.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/gguf_matrix.h"
#include "lora/quantization/selected_rows.h"
#include "models/gguf_config.h"

namespace lora::models {

namespace {

using at::Tensor;

constexpr int64_t kMaxParts = 4096;  ///< experts, or heads with norms of their own, in one tensor

/// Tensors that are read into config.json.
constexpr std::array<std::string_view, 3> kOfConfig{"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};

/// The dtype of plain numbers; none for blocks.
std::optional<at::ScalarType> plain_dtype(const io::GgufType& type) {
  const std::string_view name = type.name;
  return name == "F32"    ? std::optional(at::kFloat)
         : name == "F16"  ? std::optional(at::kHalf)
         : name == "BF16" ? std::optional(at::kBFloat16)
                          : std::nullopt;
}

/// A tensor of transformers, which is a tensor of the file or one of the parts stacked in it.
struct Entry {
  const io::GgufTensor* tensor = nullptr;
  io::GgufRows rows = io::GgufRows::kSame;
  std::vector<int64_t> shape;  ///< in the file's layout, of the part
  int64_t part = 0;
  bool stays_packed = false;
  bool is_transposed = false;
  bool subtracts_one = false;
};

class GgufCheckpoint : public io::Checkpoint {
 public:
  explicit GgufCheckpoint(std::shared_ptr<const io::GgufFile> file)
      : Checkpoint(file->path()), file_(std::move(file)), architecture_(gguf_architecture(*file_)), heads_(gguf_heads(*file_)) {
    has_second_norm_ = find_gguf_tensor(*file_, "blk.0.attn_norm_2.weight") != nullptr;
    for (const io::GgufTensor& tensor : file_->tensors()) {
      if (std::find(kOfConfig.begin(), kOfConfig.end(), tensor.name) == kOfConfig.end()) {
        add(tensor);
      }
    }
  }

  bool contains(const std::string& name) const override { return entries_.contains(name); }
  std::vector<std::string> names() const override { return names_; }
  io::TensorFacts facts(const std::string& name) const override;
  io::StoredWeight stored(const std::string& name) const override;
  Tensor tensor(const std::string& name) const override {
    const Tensor numbers = Checkpoint::tensor(name);
    const Entry& found = entry(name);
    return found.stays_packed && found.is_transposed ? numbers.t() : numbers;
  }
  void release(const std::string& name) const override { file_->release(*entry(name).tensor); }
  std::string fingerprint() const override;
  std::vector<fs::path> files() const override { return file_->files(); }

 protected:
  io::StoredWeight stored_for(const std::string& name, io::WeightRole role) const override {
    const Entry& found = entry(name);
    const bool is_table = role == io::WeightRole::kEmbedding && found.shape.size() == 2 && quantization::is_gguf_block(*found.tensor->type);
    return is_table && rows_of(found).empty() ? io::StoredWeight{{}, matrix(found)} : stored(name);
  }

 private:
  void add(const io::GgufTensor& tensor);
  void add_entry(std::string name, Entry entry);
  [[noreturn]] void fail(const io::GgufTensor& tensor, const std::string& message) const {
    model_error(file_->path().string() + ": tensor '" + printable(tensor.name, 120) + "'", message);
  }
  const Entry& entry(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
      no_such_tensor(name);
    }
    return found->second;
  }
  Tensor part_bytes(const Entry& entry) const;
  Tensor plain(const Entry& entry) const;
  std::shared_ptr<const io::PackedMatrix> matrix(const Entry& entry) const {
    return quantization::gguf_matrix(part_bytes(entry), entry.shape[0], entry.shape[1], *entry.tensor->type);
  }
  std::vector<int64_t> rows_of(const Entry& entry) const {
    return io::gguf_rows(entry.rows, heads_, entry.shape.front(), file_->path().string() + ": tensor '" + entry.tensor->name + "'");
  }

  std::shared_ptr<const io::GgufFile> file_;
  const io::GgufArchitecture& architecture_;
  io::GgufHeads heads_;
  bool has_second_norm_ = false;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Entry> entries_;
};

void GgufCheckpoint::add(const io::GgufTensor& tensor) {
  const size_t dot = tensor.name.rfind('.');
  const std::string module = tensor.name.substr(0, dot), leaf = dot == std::string::npos ? "" : tensor.name.substr(dot);
  const io::GgufName found = io::from_ggml_name(architecture_, module);
  if (found.kind == nullptr || (leaf != ".weight" && leaf != ".bias")) {
    fail(tensor, std::string("is not a tensor of the architecture ") + architecture_.name + " as far as it can be read");
  }
  const bool is_block = quantization::is_gguf_block(*tensor.type);
  if (!is_block && !plain_dtype(*tensor.type)) {
    fail(tensor,
         std::string("found the ggml type ") + tensor.type->name + ", expected F32, F16, BF16, " + quantization::gguf_block_names());
  }
  std::string name = found.name + leaf;
  // Falcon models with two norms have another name for the one before the MLP.
  if (const size_t norm = name.find(".input_layernorm"); has_second_norm_ && norm != std::string::npos) {
    name.replace(norm, std::string_view(".input_layernorm").size(), ".ln_mlp");
  }
  Entry entry{&tensor, found.kind->rows, tensor.shape};
  const size_t stack = name.find("{e}");
  const int64_t parts = stack == std::string::npos ? 1 : tensor.shape.empty() ? 0 : tensor.shape.front();
  if (stack != std::string::npos) {
    if (tensor.shape.size() < 2 || parts > kMaxParts) {
      fail(tensor, "found shape " + io::shape_text(tensor.shape) + ", expected a stack of at most " + std::to_string(kMaxParts) + " parts");
    }
    entry.shape.erase(entry.shape.begin());
  }
  const bool is_matrix = found.kind->is_projection && leaf == ".weight";
  if (is_matrix ? entry.shape.size() != 2 : entry.shape.empty()) {
    fail(tensor, "found shape " + io::shape_text(tensor.shape) + ", expected " + (is_matrix ? "a matrix" : "at least one dimension"));
  }
  entry.stays_packed = is_matrix && is_block;
  entry.is_transposed = is_matrix && architecture_.inputs_first;
  entry.subtracts_one = architecture_.stores_norms_plus_one && found.name.ends_with("norm") && leaf == ".weight";
  for (entry.part = 0; entry.part < parts; ++entry.part) {
    std::string own = name;
    add_entry(stack == std::string::npos ? own : own.replace(stack, 3, std::to_string(entry.part)), entry);
  }
}

void GgufCheckpoint::add_entry(std::string name, Entry entry) {
  const io::GgufTensor& tensor = *entry.tensor;
  if (!entries_.try_emplace(name, std::move(entry)).second) {
    fail(tensor, "is '" + printable(name, 120) + "', which another tensor of the file is, too");
  }
  names_.push_back(std::move(name));
}

io::TensorFacts GgufCheckpoint::facts(const std::string& name) const {
  const Entry& found = entry(name);
  io::TensorFacts facts;
  facts.shape = found.shape;
  if (found.is_transposed) {
    std::reverse(facts.shape.begin(), facts.shape.end());
  }
  facts.stored_as = found.tensor->type->name;
  facts.dtype = plain_dtype(*found.tensor->type).value_or(at::kFloat);
  facts.bytes = part_bytes(found).numel();
  facts.is_packed = found.stays_packed;
  return facts;
}

Tensor GgufCheckpoint::part_bytes(const Entry& entry) const {
  const Tensor bytes = file_->bytes(*entry.tensor);
  const bool is_stacked = entry.shape.size() < entry.tensor->shape.size();
  const int64_t size = is_stacked ? bytes.numel() / entry.tensor->shape.front() : bytes.numel();
  return bytes.narrow(0, entry.part * size, size);
}

/// The numbers of a tensor that does not stay packed, in the file's layout.
Tensor GgufCheckpoint::plain(const Entry& entry) const {
  const Tensor bytes = part_bytes(entry);
  if (const std::optional<at::ScalarType> dtype = plain_dtype(*entry.tensor->type)) {
    const bool is_aligned = reinterpret_cast<uintptr_t>(bytes.const_data_ptr()) % at::elementSize(*dtype) == 0;
    return (is_aligned ? bytes : bytes.clone()).view(*dtype).view(entry.shape);
  }
  const int64_t width = entry.shape.back();
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < entry.shape.size(); ++i) {
    rows *= entry.shape[i];
  }
  return io::decoded(*quantization::gguf_matrix(bytes, rows, width, *entry.tensor->type), at::kFloat).view(entry.shape);
}

io::StoredWeight GgufCheckpoint::stored(const std::string& name) const {
  const Entry& found = entry(name);
  std::vector<int64_t> rows = rows_of(found);
  if (found.stays_packed) {
    return {{}, rows.empty() ? matrix(found) : quantization::select_rows(matrix(found), std::move(rows))};
  }
  Tensor numbers = plain(found);
  if (!rows.empty()) {
    numbers = numbers.index_select(0, at::tensor(rows, at::kLong));
  }
  if (found.subtracts_one) {
    numbers = numbers - 1;
  }
  return {found.is_transposed ? numbers.t() : numbers};
}

std::string GgufCheckpoint::fingerprint() const {
  std::vector<const io::GgufTensor*> sorted;
  for (const io::GgufTensor& tensor : file_->tensors()) {
    sorted.push_back(&tensor);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  Sha256 digest;
  for (const io::GgufTensor* const tensor : sorted) {
    add_to_fingerprint(digest, tensor->name + '\n' + tensor->type->name + io::shape_text(tensor->shape) + '\n', file_->bytes(*tensor));
  }
  return digest.hexadecimal();
}

}  // namespace

std::unique_ptr<io::Checkpoint> open_gguf_checkpoint(std::shared_ptr<const io::GgufFile> file) {
  return std::make_unique<GgufCheckpoint>(std::move(file));
}

}  // namespace lora::models
