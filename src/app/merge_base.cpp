#include "app/merge_base.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "app/classifier.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/io/dtype_name.h"
#include "lora/io/tensor_facts.h"
#include "lora/models/base_model.h"
#include "lora/models/open_checkpoint.h"

namespace lora::app {

namespace {

using at::Tensor;

constexpr int64_t kPieceElements = int64_t{1} << 22;  // 16 MiB in float32
constexpr const char* kQuantizationConfig = "quantization_config";

}  // namespace

void append_merged(const peft::MergedTensor& tensor, at::ScalarType dtype, const Tensor& base,
                   const std::function<void(const Tensor&)>& append, const std::function<void()>& release) {
  const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape.front();
  const int64_t row_elements = rows > 0 ? base.numel() / rows : 0;
  const int64_t step = tensor.needs_all_rows() ? rows : std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, row_elements));
  for (int64_t begin = 0; begin < rows; begin += step) {
    throw_if_interrupted();
    const Tensor piece = peft::merged_rows(tensor, base, begin, std::min(rows, begin + step)).to(dtype);
    if (tensor.is_float && !at::isfinite(piece).all().item<bool>()) {
      model_error(tensor.name, "would get a value that is not finite in " + io::dtype_name(dtype) +
                                   ". Likely cause: a damaged base, or values too large for float16 (use --dtype bfloat16).");
    }
    append(piece);
    release();
  }
  log::progress("writing " + tensor.name);
}

MergeBase::MergeBase(const models::ModelOptions& options) : options_(options) {
  models::ModelConfig config = models::read_model_config(options.path);
  source_ = models::open_checkpoint(options.path, config);
  files_ = models::read_layout(*source_, config.reader());
  models::require_readable(files_, config.reader());
  models::warn_of_notes(files_, options.path.string());
  computing_dtype_ = models::computing_dtype(models::ComputeDtype::kAuto, config.reader(), source_->stored_dtype());
  quantization_config_ = config.json.value(kQuantizationConfig, Json());
  config_ = models::settled_config(std::move(config.json), files_);
  layout_.embedding = files_.files.embedding;
  layout_.tied = files_.is_tied;
  for (const std::string& name : source_->names()) {
    const io::TensorFacts facts = source_->facts(name);
    layout_.tensors.push_back({name, facts.shape, io::is_plain_float(facts.dtype), files_.name_of(name)});
    if (facts.is_packed) {
      packed_formats_.insert(facts.stored_as);
    }
  }
}

std::vector<peft::WeightedAdapter> MergeBase::settled(std::vector<peft::WeightedAdapter> adapters) const {
  std::vector<std::string> modules;
  for (const peft::BaseTensor& tensor : layout_.tensors) {
    modules.push_back(tensor.model_name.substr(0, tensor.model_name.rfind('.')));
  }
  modules.emplace_back("lm_head");
  for (peft::WeightedAdapter& adapter : adapters) {
    peft::align(adapter.adapter, modules);
    if (files_.is_known) {
      peft::set_inputs_first(adapter.adapter, files_.files.inputs_first);
    }
    const bool inputs_first = files_.is_known ? files_.files.inputs_first : adapter.adapter.options.fan_in_fan_out;
    peft::settle_start(adapter.adapter, [&](const std::string& module) {
      const Tensor weight = weight_of(module, adapter.name);
      return inputs_first && module != "lm_head" ? weight.t() : weight;
    });
  }
  return adapters;
}

Tensor MergeBase::values(const std::string& name) const {
  const std::string& of_model = files_.name_of(name);
  if (!quantised_ || !quantised_->packs(of_model)) {
    return source_->tensor(name);
  }
  const auto matrix = quantization::quantized_weight(source_->stored(name), name, quantised_->loading);
  const Tensor values = io::decoded(*matrix, matrix->value_dtype());
  const std::vector<int64_t> shape = source_->facts(name).shape;
  return quantised_->loading.inputs_first && shape.size() == 2 ? values.t() : values.view(shape);
}

Tensor MergeBase::values(const peft::MergedTensor& tensor) const {
  return tensor.source.empty() ? tensor.replacement : values(tensor.source);
}

void MergeBase::release(const peft::MergedTensor& tensor) const {
  if (!tensor.source.empty()) {
    source_->release(tensor.source);
  }
}

Tensor MergeBase::weight_of(const std::string& module, const std::string& adapter) const {
  for (const peft::BaseTensor& tensor : layout_.tensors) {
    if (tensor.model_name == module + ".weight" && tensor.shape.size() == 2) {
      return values(tensor.name);
    }
  }
  model_error(adapter, "does not match the base: found an update of " + module + ", which has no weight in the base");
}

void MergeBase::settle_names(peft::MergePlan& plan) const {
  const std::map<std::string, std::string> written = files_.written_names();
  const std::map<std::string, std::string> kept = plan.scores_documents ? classifier_file_names(written) : written;
  std::set<std::string> taken;
  for (peft::MergedTensor& tensor : plan.tensors) {
    const std::string& of_model = files_.name_of(tensor.name);
    const auto own = kept.find(of_model);
    const std::string& name = own == kept.end() ? of_model : own->second;
    // A head that was the embedding in the file gets its own tensor if the two differ now.
    tensor.name = taken.insert(name).second ? name : tensor.name;
  }
}

std::string MergeBase::config_text(bool unties, const std::optional<data::LabelSet>& labels, const Json& quantization) const {
  Json config = labels ? classifier_config(config_, *labels) : config_;
  if (options_.dtype != models::ComputeDtype::kAuto) {
    config[config.contains("torch_dtype") ? "torch_dtype" : "dtype"] = std::string(models::kComputeDtypes.name(options_.dtype));
  }
  if (unties) {
    config["tie_word_embeddings"] = false;
  }
  if (!quantization.is_null()) {
    config[kQuantizationConfig] = quantization;
  }
  return config.dump(2) + "\n";
}

/// Packed weights have no dtype of their own that would be worth keeping: int8 is read as float32, for example.
at::ScalarType MergeBase::written_dtype(const peft::MergedTensor& tensor) const {
  if (tensor.source.empty()) {
    return source_->stored_dtype();
  }
  const io::TensorFacts facts = source_->facts(tensor.source);
  return facts.is_packed ? computing_dtype_ : facts.dtype;
}

io::TensorStream MergeBase::stream(const peft::MergedTensor& tensor) const {
  const at::ScalarType own = written_dtype(tensor);
  const at::ScalarType dtype = tensor.is_float ? models::scalar_type(options_.dtype).value_or(own) : own;
  return {tensor.name, dtype, tensor.shape, [this, &tensor, dtype](const auto& append) { produce(tensor, dtype, append); }};
}

void MergeBase::produce(const peft::MergedTensor& tensor, at::ScalarType dtype,
                        const std::function<void(const Tensor&)>& append) const {
  append_merged(tensor, dtype, values(tensor), append, [&] { release(tensor); });
}

}  // namespace lora::app
