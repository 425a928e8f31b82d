#include "peft/replacement_method.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/io/tensor_facts.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"
#include "peft/default_targets.h"
#include "peft/extra_modules.h"
#include "peft/folder_parts.h"
#include "peft/keys.h"
#include "peft/targets.h"
#include "peft/tensor_file.h"
#include "peft/unquantised.h"

namespace lora::peft {

namespace {

const char* const kTargetKey = "adapter.target_modules";
const char* const kIndicesKey = "adapter.token_indices";

/// What distinguishes one of these methods from the others once it is attached.
struct ReplacementKind {
  const char* peft_type;
  const char* name;
  ModuleChoice targets;     ///< as adapter_config.json has them
  nlohmann::json own_keys;  ///< further keys of adapter_config.json
};

class ReplacementMethod : public Method {
 public:
  ReplacementMethod(const TargetOptions& options, ReplacementKind kind, ExtraModules own, nn::Model& model, BaseReference base)
      : options_(options), kind_(std::move(kind)), base_(std::move(base)), matches_(std::move(own.matches)) {
    model.freeze_base();
    for (ExtraModules::Trained& trained : own.trained) {
      updates_.emplace_back(std::move(trained.held));
      for (const AdapterTensor& tensor : tensors_of(updates_.back())) {
        parameters_.push_back({key_name(tensor.wrapped_name()), tensor.tensor, trained.weight_decay, tensor.role});
      }
    }
    updates_.insert(updates_.end(), own.aliases.begin(), own.aliases.end());
  }

  std::string name() const override { return kind_.name; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return matches_; }
  std::string weights_file() const override { return kAdapterWeightsFile; }

  void save(const std::filesystem::path& folder) const override {
    std::vector<io::NamedTensor> tensors = file_tensors(updates_);
    for (io::NamedTensor& named : tensors) {
      named.name = key_name(named.name);
    }
    require_finite(tensors);
    io::save_tensors(folder / kAdapterWeightsFile, tensors, base_.metadata());
    nlohmann::json config = shared_config(options_, kind_.peft_type, base_.name);
    config.update(kind_.own_keys);
    write_file_atomically(folder / kAdapterConfigFile, targeted_config_text(std::move(config), kind_.targets));
  }

  void load(const std::filesystem::path& folder) override {
    const AdapterFolder file(folder);
    load_into(file.weights_file().string(), stored_tensors(file), named_tensors(tensors_of(updates_)));
    nn::trained_weights_changed();
    nn::base_weights_changed();
  }

  void continue_from_start() {
    if (options_.init_from) {
      const std::map<std::string, std::string> metadata = adapter_metadata(*options_.init_from);
      require_base(options_.init_from->string(), metadata, base_);
      load(*options_.init_from);
    }
  }

 private:
  /// The name of a tensor as PEFT's file has it.
  std::string key_name(const std::string& tensor_name) const {
    return std::string(kTrainableTokens) == kind_.peft_type ? unwrapped_rows_key(tensor_name) : tensor_name;
  }

  TargetOptions options_;
  ReplacementKind kind_;
  BaseReference base_;
  std::vector<TargetMatch> matches_;
  std::vector<AdapterUpdate> updates_;
  std::vector<nn::Parameter> parameters_;
};

std::unique_ptr<Method> attached_replacements(const TargetOptions& options, ReplacementKind kind, ExtraModules own, nn::Model& model,
                                              const BaseReference& base) {
  auto method = std::make_unique<ReplacementMethod>(options, std::move(kind), std::move(own), model, base);
  method->continue_from_start();
  return method;
}

std::set<std::string> names_of(const std::vector<nn::Host*>& hosts) {
  std::set<std::string> names;
  for (const nn::Host* host : hosts) {
    names.insert(host->name());
  }
  return names;
}

ChosenModules norms_of(const LnTuningOptions& options, nn::Model& model, bool warns) {
  ChosenModules chosen = choose_modules(options, model, default_targets_of(model.family).ln_tuning, warns);
  for (const nn::Host* host : chosen.modules) {
    if (!host->can_be_saved()) {
      config_error(kTargetKey, "LN tuning cannot train '" + host->name() + "' (" + host->kind() +
                                   "), whose weights are separate tensors in the base's files: found it among the targets, expected norms");
    }
  }
  if (options.layers_to_transform) {  // which PEFT's LN tuning does not have
    const std::set<std::string> names = names_of(chosen.modules);
    chosen.targets = {ModuleChoice::Kind::kList, {names.begin(), names.end()}, ""};
  }
  return chosen;
}

bool has_bias(const nn::Host& host) {
  return std::any_of(host.weights().begin(), host.weights().end(),
                     [](const nn::BaseWeight& weight) { return weight.parameter().name.ends_with(".bias"); });
}

/// The modules whose biases BitFit trains.
std::vector<nn::Host*> biased_modules(const BitFitOptions& options, nn::Model& model, bool warns) {
  std::vector<nn::Host*> modules = model.hosts();
  if (options.target_modules.kind != ModuleChoice::Kind::kNone) {
    modules = choose_modules(options, model, {}, warns).modules;
  }
  std::erase_if(modules, [](const nn::Host* host) { return !has_bias(*host); });
  if (modules.empty()) {
    config_error("adapter.peft_type", "BitFit trains biases: found none in this model's " +
                                          std::string(options.target_modules.kind == ModuleChoice::Kind::kNone ? "" : "target ") +
                                          "modules, expected a family with biases (BERT, GPT-2, Qwen2), or another method");
  }
  return modules;
}

/// The embeddings and the head among the targets.
std::vector<nn::Host*> token_tables(const TrainableTokensOptions& options, nn::Model& model, bool warns) {
  nn::Embedding* const embeddings = input_embeddings(model);
  const std::vector<std::string> defaults = embeddings == nullptr ? std::vector<std::string>{} : std::vector{embeddings->name()};
  const std::vector<nn::Host*> tables = choose_modules(options, model, defaults, warns).modules;
  for (const nn::Host* host : tables) {
    if (dynamic_cast<const nn::Embedding*>(host) == nullptr && host != model.head()) {
      config_error(kTargetKey, "rows of tokens are trained in embeddings and the head only: found '" + host->name() + "' (" +
                                   host->kind() + ") among the targets");
    }
    require_token_ids(options.token_indices, host->weights().front().shape()[0], kIndicesKey);
  }
  return tables;
}

HeldTensor held_of(const AdapterTensor& tensor, const std::vector<int64_t>& token_indices, const AdapterFolder& folder) {
  if (tensor.role == nn::ParameterRole::kWhole) {
    return {{tensor.name, tensor.tensor}, {}, tensor.of_base};
  }
  if (tensor.role != nn::ParameterRole::kTokenRows || tensor.tensor.dim() != 2 ||
      tensor.tensor.size(0) != static_cast<int64_t>(token_indices.size())) {
    model_error(folder.weights_file().string(), "has a tensor that does not fit its adapter_config.json: found " + tensor.name + " " +
                                                    io::shape_text(tensor.tensor.sizes()) + ", expected rows of " +
                                                    counted(static_cast<int64_t>(token_indices.size()), "token"));
  }
  return {{tensor.module + ".weight", tensor.tensor}, token_indices};
}

}  // namespace

std::unique_ptr<Method> attach_replacements(const LnTuningOptions& options, nn::Model& model, const BaseReference& base,
                                            const std::string& adapter_name) {
  ChosenModules chosen = norms_of(options, model, /*warns=*/true);
  ExtraModules own;
  own.matches = std::move(chosen.matches);
  for (nn::Host* host : chosen.modules) {
    for (nn::BaseWeight& weight : host->weights()) {
      require_unquantised(weight, kTargetKey, "LN tuning trains copies of whole modules", "Leave the module out.");
      own.trained.push_back(train_copy(weight, adapter_name, kLnTuningWrapper));
    }
  }
  ExtraModules saved = attach_extra_modules(options, model, names_of(chosen.modules), adapter_name);
  own.trained.insert(own.trained.end(), saved.trained.begin(), saved.trained.end());
  own.matches.insert(own.matches.end(), saved.matches.begin(), saved.matches.end());
  own.aliases = std::move(saved.aliases);
  return attached_replacements(options, {kLnTuning, "LN tuning", chosen.targets, nlohmann::json::object()}, std::move(own), model, base);
}

std::unique_ptr<Method> attach_replacements(const BitFitOptions& options, nn::Model& model, const BaseReference& base,
                                            const std::string& adapter_name) {
  const std::vector<nn::Host*> modules = biased_modules(options, model, /*warns=*/true);
  ExtraOptions extra = options;
  const bool is_all = options.target_modules.kind == ModuleChoice::Kind::kNone;
  extra.bias = is_all ? TrainedBias::kAll : TrainedBias::kLoraOnly;
  ExtraModules own = attach_extra_modules(extra, model, is_all ? std::set<std::string>() : names_of(modules), adapter_name);
  for (ExtraModules::Trained& trained : own.trained) {
    trained.held.wrapper.clear();  // no module is wrapped
  }
  TargetMatch match{"biases", {}};
  for (const nn::Host* host : modules) {
    match.hosts.push_back(host->name());
  }
  own.matches.insert(own.matches.begin(), std::move(match));
  return attached_replacements(options, {kBitFit, "BitFit", options.target_modules, nlohmann::json::object()}, std::move(own), model, base);
}

std::unique_ptr<Method> attach_replacements(const TrainableTokensOptions& options, nn::Model& model, const BaseReference& base,
                                            const std::string& adapter_name) {
  ExtraOptions extra = options;
  ModuleChoice targets{ModuleChoice::Kind::kList, {}, ""};
  for (const nn::Host* table : token_tables(options, model, /*warns=*/true)) {
    extra.trainable_token_indices.push_back({table->name(), options.token_indices});
    targets.names.push_back(table->name());
  }
  ExtraModules own = attach_extra_modules(extra, model, {}, adapter_name);
  const nn::Linear* const head = model.head();
  if (head != nullptr && head->tied()) {
    for (const ExtraModules::Trained& trained : own.trained) {
      if (trained.held.module() == input_embeddings(model)->name()) {  // a tied head has the same rows, and a key of its own in PEFT's file
        own.aliases.emplace_back(HeldTensor{{head->name() + ".weight", trained.held.tensor}, trained.held.rows});
      }
    }
  }
  return attached_replacements(options, {kTrainableTokens, "trained tokens", targets, {{"token_indices", options.token_indices}}},
                               std::move(own), model, base);
}

void require_replacement_targets(const LnTuningOptions& options, nn::Model& model) {
  norms_of(options, model, /*warns=*/false);
}

void require_replacement_targets(const BitFitOptions& options, nn::Model& model) {
  biased_modules(options, model, /*warns=*/false);
}

void require_replacement_targets(const TrainableTokensOptions& options, nn::Model& model) {
  token_tables(options, model, /*warns=*/false);
}

Adapter read_replacements(const AdapterFolder& folder, const TargetOptions& options, const std::vector<int64_t>& token_indices,
                          const char* name) {
  Adapter adapter = without_updates(folder);
  static_cast<TargetOptions&>(adapter.options) = options;
  for (const auto& [tensor_name, tensor] : folder.tensors()) {
    adapter.updates.emplace_back(held_of(tensor, token_indices, folder));
  }
  if (adapter.updates.empty()) {
    model_error(folder.weights_file().string(), std::string("has no tensors of ") + name);
  }
  return adapter;
}

}  // namespace lora::peft
