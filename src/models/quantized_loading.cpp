#include "models/quantized_loading.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <set>

#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/models/base_model.h"
#include "lora/models/mapped_model.h"
#include "lora/models/open_checkpoint.h"
#include "lora/models/packed_modules.h"
#include "models/sparse_moe.h"

namespace lora::models {

namespace {

/// Modules that some models have and that are never packed: an entry that names only them is not reported as unmatched.
constexpr std::array<const char*, 3> kHeads{"lm_head", "score", "classifier"};

/// A folder's weights as they are stored.
class PlainWeights {
 public:
  PlainWeights(const ModelOptions& options, const Family& family, at::ScalarType dtype)
      : PlainWeights(options.path, read_model_config(options.path), family, dtype) {}

  at::Tensor read(const std::string& name) {
    if (!last_.empty()) {
      source_->release(last_);
    }
    const auto found = layout_.file_names.find(name);
    last_ = found == layout_.file_names.end() ? name : found->second;
    const at::Tensor weight = source_->tensor(last_).to(dtype_);
    return inputs_first_ ? weight.t() : weight;
  }

 private:
  PlainWeights(const fs::path& model, const ModelConfig& config, const Family& family, at::ScalarType dtype)
      : source_(open_checkpoint(model, config)),
        layout_(read_layout(*source_, config.reader())),
        dtype_(dtype),
        inputs_first_(family.files.inputs_first) {}

  std::unique_ptr<io::Checkpoint> source_;
  CheckpointLayout layout_;
  at::ScalarType dtype_;
  bool inputs_first_;
  std::string last_;  ///< the tensor whose pages are in memory
};

}  // namespace

quantization::LoadingOptions loading_options(const ModelOptions& options, at::ScalarType dtype, bool inputs_first) {
  const Quantization& asked = *options.quantization;
  const auto type = quantization::kQuantizationTypes.find(std::string(kQuantizationKinds.name(asked.type)));
  return {.quantization = {type.value(), asked.double_quant, asked.block_size},
          .dtype = dtype,
          .inputs_first = inputs_first,
          .skip_modules = asked.skip_modules,
          .where = options.path.string()};
}

void say_if_decoded(const io::Checkpoint& files, const ModelOptions& options, at::ScalarType dtype) {
  if (!options.quantization) {
    return;
  }
  int64_t values = 0;
  std::set<std::string> formats;
  for (const std::string& name : files.names()) {
    if (const io::TensorFacts facts = files.facts(name); facts.is_packed) {
      values += std::accumulate(facts.shape.begin(), facts.shape.end(), int64_t{1}, std::multiplies<>());
      formats.insert(facts.stored_as);
    }
  }
  if (formats.empty()) {
    return;
  }
  const std::string what = "[" + options.path.string() + "] weights stored as " + join({formats.begin(), formats.end()}) +
                           " are decoded";
  if (options.quantises()) {
    log::warn(what + " and quantised again as " + std::string(kQuantizationKinds.name(options.quantization->type)) +
              ", which rounds them a second time. Without model.quantization they are used as they are.");
  } else {
    log::info(what + " to plain numbers, which occupy " + human_bytes(values * static_cast<int64_t>(at::elementSize(dtype))));
  }
}

void warn_of_unmatched(const quantization::PlainModules& modules) {
  std::vector<std::string> entries = modules.unmatched();
  const auto is_head = [](const std::string& entry) { return std::find(kHeads.begin(), kHeads.end(), entry) != kHeads.end(); };
  entries.erase(std::remove_if(entries.begin(), entries.end(), is_head), entries.end());
  if (!entries.empty()) {
    log::warn("[model.quantization.skip_modules] no module of the model is meant by " + join(entries));
  }
}

std::function<at::Tensor(const std::string& name)> plain_weights(const ModelOptions& options, const Family& family, at::ScalarType dtype) {
  const auto opened = std::make_shared<std::unique_ptr<PlainWeights>>();
  return [opened, options, &family, dtype](const std::string& name) {
    if (*opened == nullptr) {
      *opened = std::make_unique<PlainWeights>(options, family, dtype);
    }
    return (*opened)->read(name);
  };
}

QuantizationPlan quantization_plan(const ModelOptions& options) {
  const ModelConfig config = read_model_config(options.path);
  const Family& family = find_family(config.reader().string("model_type"), config.where);
  const std::unique_ptr<nn::Model> model = map_model(options.path);
  const at::ScalarType dtype = computing_dtype(options.dtype, config.reader(), model->dtype());
  QuantizationPlan plan{loading_options(options, dtype, family.files.inputs_first), {}, {}};
  const quantization::PlainModules plain(options.quantization->skip_modules);
  for (const nn::Host* host : model->body->hosts()) {
    const bool is_linear = dynamic_cast<const nn::Linear*>(host) != nullptr;
    if (!is_linear && dynamic_cast<const Experts*>(host) == nullptr) {
      continue;
    }
    for (const nn::BaseWeight& weight : host->weights()) {
      const std::string& name = weight.parameter().name;
      if (!name.ends_with(".bias") && !plain.contains(name.substr(0, name.rfind('.')))) {
        (is_linear ? plan.projections : plan.experts).insert(name);
      }
    }
  }
  return plan;
}

std::vector<std::string> packed_modules(const ModelOptions& options) {
  std::vector<std::string> modules;
  if (options.quantises()) {
    for (const std::string& weight : quantization_plan(options).projections) {
      modules.push_back(weight.substr(0, weight.rfind('.')));
    }
  }
  return modules;
}

}  // namespace lora::models
