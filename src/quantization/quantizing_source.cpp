#include "lora/quantization/quantizing_source.h"

#include <ATen/ATen.h>

#include "lora/base/interrupt.h"

namespace lora::quantization {

namespace {

constexpr const char* kHead = "lm_head";

/// Plain tensors up to this size are copied. Views of the file would keep packed tensors next to them in memory, because the system maps a
/// file in pieces of up to 2 MiB.
constexpr int64_t kMostCopiedBytes = int64_t{1} << 20;

/// The module that a tensor belongs to.
std::string module_of(const std::string& tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

}  // namespace

PlainModules::PlainModules(std::vector<std::string> entries) : entries_(std::move(entries)) {
  for (const std::string& entry : entries_) {
    // transformers' should_convert_module: the match must end at the end of a part of the name.
    expressions_.emplace_back("(?:" + entry + R"()(?:(?<=\.)|(?=\.|$)).*)", "model.quantization.skip_modules", ErrorKind::kConfig);
  }
}

bool PlainModules::means(size_t entry, const std::string& module) const {
  return module.ends_with(entries_[entry]) || expressions_[entry].matches_whole(module);
}

bool PlainModules::contains(const std::string& module) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (means(i, module)) {
      return true;
    }
  }
  return module == kHead;
}

bool PlainModules::see(const std::string& module) {
  bool is_plain = module == kHead;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (means(i, module)) {
      matched_.insert(i);
      is_plain = true;
    }
  }
  return is_plain;
}

std::vector<std::string> PlainModules::unmatched() const {
  std::vector<std::string> entries;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (matched_.count(i) == 0) {
      entries.push_back(entries_[i]);
    }
  }
  return entries;
}

std::shared_ptr<const io::PackedMatrix> quantized_weight(const io::StoredWeight& stored, const std::string& name,
                                                         const LoadingOptions& options) {
  const Tensor plain = stored.packed == nullptr ? stored.tensor.to(options.dtype) : io::decoded(*stored.packed, options.dtype);
  const bool is_transposed = stored.packed == nullptr && options.inputs_first && plain.dim() == 2;
  const Tensor W_OI = (is_transposed ? plain.t() : plain.reshape({-1, plain.size(-1)})).contiguous();
  return quantize(W_OI, options.quantization, options.where + ": tensor '" + name + "'");
}

QuantizingSource::QuantizingSource(io::WeightSource& source, LoadingOptions options)
    : source_(source), options_(std::move(options)), plain_(options_.skip_modules) {}

io::StoredWeight QuantizingSource::weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) {
  const std::string module = module_of(name);
  const io::StoredWeight stored = source_.weight(name, shape, role);
  const bool is_plain = plain_.see(module);
  if (is_plain || role != io::WeightRole::kLinear) {
    return stored;
  }
  throw_if_interrupted();
  const std::shared_ptr<const io::PackedMatrix> packed = quantized_weight(stored, name, options_);
  source_.release(name);
  return {.tensor = {}, .packed = packed};
}

Tensor QuantizingSource::get(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) {
  plain_.see(module_of(name));
  const Tensor plain = source_.get(name, shape, role);
  if (static_cast<int64_t>(plain.nbytes()) > kMostCopiedBytes) {
    return plain;
  }
  const Tensor copy = plain.clone();
  source_.release(name);
  return copy;
}

}  // namespace lora::quantization
