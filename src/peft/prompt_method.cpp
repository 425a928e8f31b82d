#include "peft/prompt_method.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

/// PEFT's key of the virtual tokens. Heads have only this wrapper: these methods change no module of the base.
const char* const kPromptKey = "prompt_embeddings";
const char* const kHeadPrefix = "base_model.";

void require_size(const char* key, const std::optional<int64_t>& given, int64_t own) {
  if (given && *given != own) {
    config_error(std::string("adapter.") + key,
                 "found " + std::to_string(*given) + ", expected " + std::to_string(own) + ", as this model has. Remove the key.");
  }
}

StoredTensors read_stored(const std::filesystem::path& file, std::map<std::string, std::string>& metadata) {
  StoredTensors stored;
  for (const io::NamedTensor& named : read_tensors(file, metadata)) {
    stored.emplace(named.name, named.tensor);
  }
  return stored;
}

}  // namespace

void require_sizes(const PromptOptions& options, const PromptSizes& sizes) {
  require_size("token_dim", options.token_dim, sizes.token_dim);
  require_size("num_layers", options.num_layers, sizes.num_layers);
  require_size("num_attention_heads", options.num_attention_heads, sizes.num_attention_heads);
  require_size("num_transformer_submodules", options.num_transformer_submodules, 1);
}

PromptMethod::PromptMethod(const PromptOptions& options, PromptKind kind, const PromptSizes& sizes, std::shared_ptr<PromptEncoder> encoder,
                           nn::Model& model, BaseReference base, const std::string& adapter_name)
    : options_(options),
      kind_(std::move(kind)),
      sizes_(sizes),
      encoder_(std::move(encoder)),
      base_(std::move(base)),
      parameters_(encoder_->parameters()),
      matches_{kind_.match} {
  model.freeze_base();
  extra_ = attach_extra_modules(options_, model, {}, adapter_name);
  for (const ExtraModules::Trained& trained : extra_.trained) {
    parameters_.push_back({trained.held.name, trained.held.tensor, trained.weight_decay});
  }
  matches_.insert(matches_.end(), extra_.matches.begin(), extra_.matches.end());
}

void PromptMethod::continue_from_start() {
  if (!options_.init_from) {
    return;
  }
  const std::map<std::string, std::string> metadata = adapter_metadata(*options_.init_from);
  require_base(options_.init_from->string(), metadata, base_);
  load(*options_.init_from);
}

std::string PromptMethod::weights_file() const {
  return kAdapterWeightsFile;
}

std::vector<io::NamedTensor> PromptMethod::held_tensors() const {
  std::vector<io::NamedTensor> tensors;
  for (const ExtraModules::Trained& trained : extra_.trained) {
    tensors.push_back({kHeadPrefix + trained.held.name, trained.held.tensor.detach()});
  }
  return tensors;
}

void PromptMethod::save(const std::filesystem::path& folder) const {
  const at::NoGradGuard no_grad;
  std::vector<io::NamedTensor> tensors = held_tensors();
  tensors.push_back({kPromptKey, encoder_->channels(0, encoder_->width()).detach()});
  std::vector<io::NamedTensor> network;
  if (encoder_->has_network()) {
    for (const nn::Parameter& parameter : encoder_->parameters()) {
      network.push_back({parameter.name, parameter.tensor.detach()});
    }
  }
  require_finite(tensors);
  require_finite(network);
  io::save_tensors(folder / kAdapterWeightsFile, tensors, base_.metadata());
  if (!network.empty()) {
    io::save_tensors(folder / kPromptEncoderFile, network, base_.metadata());
  }
  write_file_atomically(folder / kAdapterConfigFile, config_text());
}

std::string PromptMethod::config_text() const {
  nlohmann::json config = shared_config(options_, kind_.peft_type, base_.name);
  config["num_virtual_tokens"] = options_.num_virtual_tokens;
  config["token_dim"] = sizes_.token_dim;
  config["num_layers"] = sizes_.num_layers;
  config["num_attention_heads"] = sizes_.num_attention_heads;
  config["num_transformer_submodules"] = 1;
  config.update(kind_.own_keys);
  return config.dump(2, ' ', /*ensure_ascii=*/true) + "\n";
}

void PromptMethod::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = adapter_weights_file(folder);
  std::map<std::string, std::string> metadata;
  const StoredTensors stored = read_stored(file, metadata);
  std::vector<io::NamedTensor> tensors = held_tensors();
  // With a network the tokens are a result: they are only checked.
  const Tensor& rows = encoder_->parameters().front().tensor;
  const Tensor tokens_NW = encoder_->has_network() ? at::empty({encoder_->num_tokens(), encoder_->width()}, rows.options()) : rows;
  tensors.push_back({kPromptKey, tokens_NW.detach()});
  load_into(file.string(), stored, tensors);
  if (encoder_->has_network()) {
    load_network(folder);
  }
  nn::trained_weights_changed();
  nn::base_weights_changed();
}

void PromptMethod::load_network(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kPromptEncoderFile;
  if (!std::filesystem::exists(file)) {
    model_error(folder.string(), std::string("cannot be trained further: found no ") + kPromptEncoderFile +
                                     ", expected the network that computes its virtual tokens. PEFT saves only what the network "
                                     "computes. Train a new adapter, or continue from a folder of lora-train.");
  }
  std::map<std::string, std::string> metadata;
  const StoredTensors stored = read_stored(file, metadata);
  std::vector<io::NamedTensor> tensors;
  for (const nn::Parameter& parameter : encoder_->parameters()) {
    tensors.push_back({parameter.name, parameter.tensor});
  }
  load_into(file.string(), stored, tensors);
}

}  // namespace lora::peft
