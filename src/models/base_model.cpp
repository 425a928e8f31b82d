#include "lora/models/base_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/bundle.h"
#include "lora/base/counted.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/json_access.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/io/tensor_facts.h"
#include "lora/models/open_checkpoint.h"
#include "lora/models/packed_modules.h"
#include "lora/nn/device.h"
#include "lora/nn/packed_weights.h"
#include "models/base_dropout.h"
#include "models/head_sources.h"
#include "models/quantized_loading.h"
#include "models/registry.h"
#include "models/unread_keys.h"

namespace lora::models {

namespace {

constexpr double kInitializerRange = 0.02;  ///< transformers' default, if config.json has none

/// By the names of ComputeDtype; kAuto if config.json has none.
ComputeDtype config_dtype(const JsonReader& config) {
  std::string name = config.string("dtype", config.string("torch_dtype", "auto"));
  if (name.starts_with("torch.")) {
    name = name.substr(6);
  }
  return kComputeDtypes.find(name).value_or(ComputeDtype::kAuto);
}

[[noreturn]] void not_finite(const std::string& name, const std::string& where) {
  model_error(where, "tensor '" + name + "' holds a value that is not finite (NaN or infinity). The file is damaged.");
}

void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& where) {
  throw_if_interrupted();
  if (tensor.numel() == 0) {
    return;
  }
  // Minimum and maximum propagate a NaN and need no copy of the weight.
  const auto [low, high] = at::aminmax(tensor);
  if (!at::isfinite(low).item<bool>() || !at::isfinite(high).item<bool>()) {
    not_finite(name, where);
  }
}

void warn_of_unused(const io::WeightSource& source, const CheckpointLayout& layout, const Family& family, const std::string& where) {
  std::vector<std::string> unknown;
  for (const std::string& name : source.unused()) {
    if (!family.may_ignore(layout.name_of(name))) {
      unknown.push_back(name);
    }
  }
  if (!unknown.empty()) {
    log::warn("[" + where + "] " + std::to_string(unknown.size()) +
              " tensors of the checkpoint are not used by this family: " + join(unknown, ", ", 2));
  }
}

}  // namespace

/// Of a packed weight the scales are checked: its codes have no other values.
void require_finite_weights(const nn::Model& model, const std::string& where) {
  for (const nn::Parameter& parameter : model.base_parameters()) {
    require_finite(parameter.tensor, parameter.name, where);
  }
  for (const auto& [name, matrix] : nn::packed_matrices(model)) {
    throw_if_interrupted();
    if (!matrix->is_finite()) {
      not_finite(name, where);
    }
  }
}

std::optional<at::ScalarType> scalar_type(ComputeDtype dtype) {
  switch (dtype) {
    case ComputeDtype::kFloat32:
      return at::kFloat;
    case ComputeDtype::kBFloat16:
      return at::kBFloat16;
    case ComputeDtype::kFloat16:
      return at::kHalf;
    case ComputeDtype::kAuto:
      break;
  }
  return std::nullopt;
}

at::ScalarType computing_dtype(ComputeDtype requested, const JsonReader& config, at::ScalarType stored) {
  const ComputeDtype dtype = requested == ComputeDtype::kAuto ? config_dtype(config) : requested;
  return scalar_type(dtype).value_or(stored == at::kDouble ? at::kFloat : stored);
}

namespace {

/// Where a model's weights come from, and how they are converted.
struct Plan {
  const ModelOptions& model;
  std::string where;  ///< config.json's path
  const Family& family;
  at::TensorOptions options;
  uint64_t seed;
  std::optional<int64_t> num_labels;  ///< of the head that scores documents; none: the model has another head
};

/// The family's model, without a head that scores documents.
std::unique_ptr<nn::Model> build_body(const Plan& plan, const JsonReader& config, io::WeightSource& source) {
  if (!plan.model.quantises()) {
    return plan.family.build(config, source, plan.options);
  }
  const at::ScalarType dtype = at::typeMetaToScalarType(plan.options.dtype());
  quantization::QuantizingSource quantizing(source, loading_options(plan.model, dtype, plan.family.files.inputs_first));
  std::unique_ptr<nn::Model> model = plan.family.build(config, quantizing, plan.options);
  warn_of_unmatched(quantizing.plain_modules());
  return model;
}

void build_parts(BaseModel& base, const Plan& plan, const JsonReader& config, io::WeightSource& source) {
  if (!plan.num_labels) {
    base.model = build_body(plan, config, source);
    base.model->family = plan.family.model_type;
    return;
  }
  HeadlessSource body(source);
  base.model = build_body(plan, config, body);
  base.model->family = plan.family.model_type;
  CompletedSource head(source, plan.seed, config.number("initializer_range", kInitializerRange));
  const HeadShape shape{base.model->body->hidden_size(), *plan.num_labels};
  base.model->documents = plan.family.build_head(shape, config, head, plan.options);
  base.model->tokens = nullptr;
  base.created = head.created();
}

/// The model that base.config describes, with the requested dropout.
void build_model(BaseModel& base, const Plan& plan, io::WeightSource& source) {
  const JsonAccess access;
  const Json config = plan.model.base_dropout ? with_base_dropout(base.config, *plan.model.base_dropout) : base.config;
  const JsonReader reader(config, plan.where, ErrorKind::kModel);
  if (reader.has("per_layer_config") && !reader.at("per_layer_config").empty()) {
    reader.fail("per_layer_config", "no such key: all layers of a model must have the same options");
  }
  build_parts(base, plan, reader, source);
  base.unread_keys = unread_keys(config, access, split(plan.family.idle_keys, ' '));
}

void require_head(const BaseModel& base, const Family& family, const std::string& where) {
  if (base.model->tokens != nullptr || base.model->documents != nullptr) {
    return;
  }
  model_error(where, (family.files.is_encoder ? "the encoder '" + base.model_type + "' has no head over the vocabulary"
                                              : std::string("tensor 'lm_head.weight' is missing, the head over the vocabulary")) +
                         ": expected a causal language model. To classify texts with it, set training.objective to "
                         "\"sequence_classification\".");
}

/// As many labels as requested, otherwise as many as are stored.
std::optional<int64_t> labels_of(const std::optional<SequenceHeadRequest>& head, std::optional<int64_t> stored, const Family& family,
                                 const std::string& where) {
  if (!head || head->num_labels) {
    return head ? head->num_labels : std::nullopt;
  }
  if (!stored) {
    model_error(where, "the model has no head that scores documents: found no " + std::string(family.files.classifier) +
                           ".weight. Give an adapter that has one, or the folder of a trained classifier.");
  }
  return stored;
}

void require_folder(const fs::path& folder) {
  if (!is_folder(folder)) {
    model_error("model.path",
                "no such folder: found '" + folder.string() + "', expected a Hugging Face model folder (config.json, *.safetensors)");
  }
}

/// What a model is loaded by.
struct Loading {
  const ModelOptions& options;
  uint64_t seed;
  const std::optional<SequenceHeadRequest>& head;
  const Family& family;
  const JsonReader& config;  ///< config.json as it is stored
};

/// @param stored the dtype of the weights. @param stored_count of labels of the stored head.
void build_from(BaseModel& base, const Loading& loading, io::WeightSource& source, at::ScalarType stored,
                std::optional<int64_t> stored_count) {
  const auto& [options, seed, head, family, config] = loading;
  const at::ScalarType dtype = computing_dtype(options.dtype, config, stored);
  const at::TensorOptions tensors = at::TensorOptions(dtype).device(nn::open_device(options.device));
  const at::NoGradGuard no_grad;
  build_model(base, {options, config.where(), family, tensors, seed, labels_of(head, stored_count, family, options.path.string())}, source);
  require_head(base, family, config.where());
  warn_of_unread_keys(base.unread_keys, base.config, config.where());
  base.quantization = nn::packed_weights(*base.model).text();
  if (options.quantises() && !options.from_scratch) {
    base.plain_weight = plain_weights(options, family, base.model->dtype());
  }
}

/// Says what weights that the files store packed take as plain numbers of `dtype`: embeddings of GGUF, and groups that cross rows.
void tell_of_decoded(const io::Checkpoint& source, at::ScalarType dtype) {
  int64_t count = 0, elements = 0;
  for (const std::string& name : source.names()) {
    const io::TensorFacts facts = source.facts(name);
    const int64_t numel = c10::multiply_integers(facts.shape);
    const bool is_stored_packed =
        io::is_plain_float(facts.dtype) && facts.bytes < numel * static_cast<int64_t>(at::elementSize(facts.dtype));
    if (is_stored_packed && !facts.is_packed) {
      ++count;
      elements += numel;
    }
  }
  if (count > 0) {
    log::info("[" + source.path().string() + "] " + counted(count, "packed weight") + " decoded to plain numbers: " +
              human_bytes(elements * static_cast<int64_t>(at::elementSize(dtype))) + " in " + io::dtype_name(dtype));
  }
}

std::unique_ptr<io::Checkpoint> open_weights(const ModelOptions& options, const ModelConfig& config) {
  std::unique_ptr<io::Checkpoint> source = open_checkpoint(options.path, config);
  say_if_decoded(*source, options, computing_dtype(options.dtype, config.reader(), source->stored_dtype()));
  const bool is_decoded = options.quantization && options.quantization->type == QuantizationKind::kNone;
  return is_decoded ? io::decoded_checkpoint(std::move(source)) : std::move(source);
}

}  // namespace

int64_t read_vocab_size(const fs::path& folder) {
  const ModelConfig config = read_model_config(folder);
  return config.reader().integer("vocab_size");
}

BaseModel load_base_model(const ModelOptions& options, uint64_t seed, const std::optional<SequenceHeadRequest>& head) {
  const fs::path& folder = options.path;
  require_folder(folder);
  const ModelConfig stored_config = read_model_config(folder);
  BaseModel base;
  base.config = stored_config.json;
  base.files.emplace_back(stored_config.where);
  const JsonReader config = stored_config.reader();
  base.model_type = config.string("model_type");
  const Family& family = find_family(base.model_type, config.where());
  const Loading loading{options, seed, head, family, config};
  if (options.from_scratch) {
    io::RandomSource source(seed, config.number("initializer_range", kInitializerRange));
    build_from(base, loading, source, at::kFloat, std::nullopt);
    return base;
  }
  const std::unique_ptr<io::Checkpoint> source = open_weights(options, stored_config);
  const CheckpointLayout layout = read_layout(*source, config);
  require_readable(layout, config);
  warn_of_notes(layout, folder.string());
  base.config = settled_config(std::move(base.config), layout);
  io::RenamedSource renamed = renamed_source(*source, layout);
  // First, because it reads a little of every tensor: loading drops the pages of those that it quantises.
  base.fingerprint = source->fingerprint();
  build_from(base, loading, renamed, source->stored_dtype(), stored_labels(*source, layout));
  base.file_names = layout.written_names();
  tell_of_decoded(*source, base.model->dtype());
  const std::vector<fs::path> weight_files = source->files();
  base.files.insert(base.files.end(), weight_files.begin(), weight_files.end());
  warn_of_unused(*source, layout, family, folder.string());
  require_finite_weights(*base.model, folder.string());
  return base;
}

}  // namespace lora::models
