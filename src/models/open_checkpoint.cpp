#include "lora/models/open_checkpoint.h"

#include <algorithm>

#include "lora/base/bundle.h"
#include "lora/base/file.h"
#include "lora/io/tensor_facts.h"
#include "lora/models/family_files.h"
#include "lora/quantization/packed_checkpoint.h"
#include "models/gguf_checkpoint.h"

namespace lora::models {

namespace {

constexpr const char* kQuantizationKey = "quantization_config";
constexpr const char* kOldGptqFile = "quantize_config.json";  ///< of AutoGPTQ, before config.json had a quantization_config

/// Whether there are tensors that are neither numbers of a model nor its buffers (positions, masks), and hence codes.
bool has_codes(const io::Checkpoint& files) {
  const std::vector<std::string> names = files.names();
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    const at::ScalarType dtype = files.facts(name).dtype;
    return !io::is_plain_float(dtype) && dtype != at::kLong && dtype != at::kBool;
  });
}

/// config.json with a quantization_config, if another file has it.
Json completed_config(const fs::path& model, const Json& config) {
  Json completed = config;
  if (completed.value(kQuantizationKey, Json()).is_null() && fs::exists(model / kOldGptqFile)) {
    completed[kQuantizationKey] = read_json(model / kOldGptqFile, ErrorKind::kModel);
    completed[kQuantizationKey].emplace("quant_method", "gptq");
  }
  return completed;
}

/// Whether the weight of a module is [in, out] in a plain file.
auto layout_of(const JsonReader& config) {
  const FamilyFiles files = find_family_files(config.string("model_type", "")).value_or(FamilyFiles{});
  return [inputs_first = files.inputs_first, classifier = std::string(files.classifier)](const std::string& module) {
    return inputs_first && !module.ends_with("lm_head") && !module.ends_with(classifier);
  };
}

}  // namespace

ModelConfig read_model_config(const fs::path& model) {
  const fs::path file = model / "config.json";
  return {read_json(file, ErrorKind::kModel), file.string()};
}

std::unique_ptr<io::Checkpoint> open_checkpoint(const fs::path& model, const ModelConfig& config) {
  if (is_bundle(model)) {
    return open_gguf_checkpoint(std::make_shared<const io::GgufFile>(model));
  }
  std::unique_ptr<io::Checkpoint> files = std::make_unique<io::SafetensorsCheckpoint>(model);
  const Json completed = completed_config(model, config.json);
  const JsonReader reader(completed, config.where, ErrorKind::kModel);
  if (!reader.has(kQuantizationKey) || !reader.at(kQuantizationKey).is_object() || !has_codes(*files)) {
    return files;
  }
  const JsonReader section = reader.object(kQuantizationKey);
  if (!quantization::is_known_method(section)) {
    return files;
  }
  return quantization::packed_checkpoint(std::move(files), section, layout_of(reader));
}

bool has_weights(const fs::path& model) {
  return is_bundle(model) || fs::exists(model / "model.safetensors") || fs::exists(model / "model.safetensors.index.json");
}

}  // namespace lora::models
