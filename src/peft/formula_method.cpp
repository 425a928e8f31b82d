#include "peft/formula_method.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/io/tensor_facts.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"
#include "peft/extra_modules.h"
#include "peft/folder_parts.h"
#include "peft/generators.h"
#include "peft/keys.h"
#include "peft/targets.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

ProjectionFacts facts_of_host(const nn::Linear& host) {
  return {host.name(), host.in_features(), host.out_features()};
}

bool has_turned_weight(const nn::Linear& host) {
  return host.layout() == nn::WeightLayout::kInOut;
}

ChosenHosts chosen_projections(const TargetOptions& options, const Formula& formula, nn::Model& model, bool warns) {
  const std::vector<std::string> defaults = formula.default_targets(model.body->default_target_modules());
  ChosenHosts chosen = choose_projections(options, model, formula.name(), defaults, warns);
  for (const nn::Linear* host : chosen.hosts) {
    if (has_turned_weight(*host) && !formula.takes_conv1d()) {
      config_error("adapter.target_modules", formula.name() + " cannot be attached to '" + host->name() +
                                                 "', as in PEFT: found a module of kind Conv1D, expected Linear");
    }
  }
  return chosen;
}

/// The tensors that all modules share, taken out of a file's.
PartTensors take_shared_tensors(StoredTensors& stored) {
  PartTensors shared;
  for (auto next = stored.begin(); next != stored.end();) {
    if (next->first.find('.') == std::string::npos) {
      shared.insert(*next);
      next = stored.erase(next);
    } else {
      ++next;
    }
  }
  return shared;
}

class FormulaMethod : public Method {
 public:
  FormulaMethod(TargetOptions options, const char* peft_type, std::unique_ptr<Formula> formula, nn::Model& model, BaseReference base,
                std::string adapter_name)
      : options_(std::move(options)),
        peft_type_(peft_type),
        formula_(std::move(formula)),
        base_(std::move(base)),
        adapter_name_(std::move(adapter_name)),
        chosen_(chosen_projections(options_, *formula_, model, /*warns=*/true)) {
    model.freeze_base();
  }

  void attach(nn::Model& model, uint64_t seed) {
    StoredTensors stored;
    std::optional<AdapterFolder> start;
    if (options_.init_from) {
      start.emplace(*options_.init_from);
      require_base(options_.init_from->string(), start->metadata(), base_);
      stored = stored_tensors(*start);
    } else {
      formula_->warn_of_start();
    }
    settle_shared(take_shared_tensors(stored));
    formula_->move_shared(chosen_.hosts.front()->matrix()->device());
    for (nn::Linear* host : chosen_.hosts) {
      attach_to(*host, seed);
    }
    if (FormulaTraining* const training = formula_->training()) {
      training->watch(of_kind<FormulaUpdate>(updates_));
    }
    attach_extra(model);
    if (start) {
      load_into(start->weights_file().string(), stored, named_tensors(tensors_of(all_updates())));
      announce();
    }
  }

  std::string name() const override { return formula_->name(); }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return chosen_.matches; }
  std::string weights_file() const override { return kAdapterWeightsFile; }

  void save(const std::filesystem::path& folder) const override {
    std::vector<io::NamedTensor> tensors = file_tensors(all_updates());
    for (const io::NamedTensor& shared : formula_->shared()) {
      tensors.push_back({shared_key(shared.name), shared.tensor});
    }
    require_finite(tensors);
    if (FormulaTraining* const training = formula_->training()) {
      training->save(folder);
      training->shorten(tensors);
    }
    io::save_tensors(folder / kAdapterWeightsFile, tensors, base_.metadata());
    nlohmann::json config = shared_config(options_, peft_type_, base_.name);
    formula_->complete(config);
    if (formula_->takes_conv1d()) {
      config["fan_in_fan_out"] = has_turned_weight(*chosen_.hosts.back());  // as in PEFT, the last projection decides
    }
    write_file_atomically(folder / kAdapterConfigFile, targeted_config_text(std::move(config), chosen_.targets));
  }

  void load(const std::filesystem::path& folder) override {
    const AdapterFolder file(folder);
    StoredTensors stored = stored_tensors(file);
    for (const auto& [shared_name, tensor] : take_shared_tensors(stored)) {
      require_same_shared(shared_name, tensor, file.weights_file().string());
    }
    if (FormulaTraining* const training = formula_->training()) {
      training->load(folder, stored);
    }
    load_into(file.weights_file().string(), stored, named_tensors(tensors_of(all_updates())));
    announce();
  }

  nn::StepRule* step_rule(int64_t total_steps) override {
    FormulaTraining* const training = formula_->training();
    if (training != nullptr) {
      training->plan(total_steps);
    }
    return training;
  }

 private:
  static void announce() {
    nn::trained_weights_changed();
    nn::base_weights_changed();  // a file has tensors that replace the base's too
  }

  /// A file may lack them, where they can be drawn again.
  void settle_shared(const PartTensors& stored) {
    if (!stored.empty()) {
      formula_->take_shared(stored);
      return;
    }
    std::vector<ProjectionFacts> all;
    for (const nn::Linear* host : chosen_.hosts) {
      all.push_back(facts_of_host(*host));
    }
    formula_->create_shared(all);
  }

  void require_same_shared(const std::string& shared_name, const Tensor& stored, const std::string& where) const {
    for (const io::NamedTensor& own : formula_->shared()) {
      if (own.name == shared_name && !same_values(own.tensor.cpu(), stored)) {
        model_error(where, "has other values of the fixed tensor " + shared_key(shared_name) +
                               " than this run: expected those of projection_prng_key or of init_from");
      }
    }
  }

  /// float32 whatever the dtype of the base (PEFT's autocast_adapter_dtype).
  void attach_to(nn::Linear& host, uint64_t seed) {
    PartTensors tensors;
    for (const FormulaPart& part : formula_->parts(facts_of_host(host))) {
      const Tensor tensor = at::empty(part.shape, at::kFloat);
      part.start(tensor, generator_of(seed, host.name() + "." + part.name));
      tensors.emplace(part.name, tensor.to(host.matrix()->device()).requires_grad_(true));
    }
    FormulaUpdate update{host.name(), formula_->change(host.name(), tensors), formula_, has_turned_weight(host)};
    host.attach(nn::FormulaTerm(adapter_name_, update.change));
    train(std::move(update), /*weight_decay=*/true);
  }

  void attach_extra(nn::Model& model) {
    std::set<std::string> adapted;
    for (const nn::Linear* host : chosen_.hosts) {
      adapted.insert(host->name());
    }
    ExtraModules extra = attach_extra_modules(options_, model, adapted, adapter_name_);
    for (ExtraModules::Trained& trained : extra.trained) {
      train(std::move(trained.held), trained.weight_decay);
    }
    chosen_.matches.insert(chosen_.matches.end(), extra.matches.begin(), extra.matches.end());
    aliases_ = std::move(extra.aliases);
  }

  void train(AdapterUpdate update, bool weight_decay) {
    for (const AdapterTensor& tensor : tensors_of(update)) {
      parameters_.push_back({tensor.wrapped_name(), tensor.tensor, weight_decay, tensor.role});
    }
    updates_.push_back(std::move(update));
  }

  std::vector<AdapterUpdate> all_updates() const {
    std::vector<AdapterUpdate> all = updates_;
    all.insert(all.end(), aliases_.begin(), aliases_.end());
    return all;
  }

  TargetOptions options_;
  const char* peft_type_;
  std::shared_ptr<Formula> formula_;
  BaseReference base_;
  std::string adapter_name_;
  ChosenHosts chosen_;
  std::vector<AdapterUpdate> updates_;
  std::vector<AdapterUpdate> aliases_;     ///< trained tensors under further names of the file
  std::vector<nn::Parameter> parameters_;  ///< the tensors of updates_
};

/// The tensors of each module that a formula changes. Throws model Error for one outside of target_modules.
std::map<std::string, PartTensors> parts_by_module(const AdapterFolder& folder, const TargetOptions& options) {
  const std::function<bool(const std::string&)> is_target = named_targets(options);
  std::map<std::string, PartTensors> modules;
  for (const auto& [tensor_name, tensor] : folder.tensors()) {
    if (tensor.role == nn::ParameterRole::kFormula && !tensor.module.empty()) {
      if (!is_target(tensor.module)) {
        model_error(folder.weights_file().string(), "has a module outside of target_modules: found " + tensor_name);
      }
      modules[tensor.module].emplace(tensor_name.substr(tensor.module.size() + 1), tensor.tensor.to(at::kFloat));
    }
  }
  return modules;
}

}  // namespace

std::string method_name(const FormulaUpdate& update) {
  return update.formula->name();
}

std::string misfit(const FormulaUpdate& update, int64_t inputs, int64_t outputs) {
  std::map<std::string, Tensor> own;
  for (const io::NamedTensor& part : update.change->tensors()) {
    own.emplace(part.name, part.tensor);
  }
  const std::vector<FormulaPart> parts = update.formula->parts({update.module, inputs, outputs});
  for (const FormulaPart& part : parts) {
    const auto found = own.find(part.name);
    const std::string expected = ", expected " + io::shape_text(part.shape);
    if (found == own.end()) {
      return part.name + " (missing" + expected + ")";
    }
    if (found->second.sizes() != at::IntArrayRef(part.shape)) {
      return part.name + " (found " + io::shape_text(found->second.sizes()) + expected + ")";
    }
  }
  return own.size() == parts.size() ? ""
                                    : "(found " + std::to_string(own.size()) + " tensors, expected " + std::to_string(parts.size()) + ")";
}

std::unique_ptr<Method> attach_formula(const TargetOptions& options, const char* peft_type, std::unique_ptr<Formula> formula,
                                       nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
  auto method = std::make_unique<FormulaMethod>(options, peft_type, std::move(formula), model, base, adapter_name);
  method->attach(model, seed);
  return method;
}

void require_formula_targets(const TargetOptions& options, const Formula& formula, nn::Model& model) {
  chosen_projections(options, formula, model, /*warns=*/false);
}

Adapter read_formula(const AdapterFolder& folder, const TargetOptions& options, std::unique_ptr<Formula> formula) {
  Adapter adapter = without_updates(folder);
  static_cast<TargetOptions&>(adapter.options) = options;
  const std::shared_ptr<Formula> shared_formula = std::move(formula);
  StoredTensors stored = stored_tensors(folder);
  shared_formula->take_shared(take_shared_tensors(stored));
  for (const auto& [module, parts] : parts_by_module(folder, options)) {
    adapter.updates.emplace_back(FormulaUpdate{module, shared_formula->change(module, parts), shared_formula, options.fan_in_fan_out});
  }
  if (adapter.updates.empty()) {
    model_error(folder.weights_file().string(), "has no tensors of " + shared_formula->name());
  }
  for (const auto& [tensor_name, tensor] : folder.tensors()) {
    if (tensor.role == nn::ParameterRole::kWhole) {
      adapter.updates.emplace_back(HeldTensor{{tensor_name, tensor.tensor}, {}, tensor.of_base});
    } else if (tensor.role != nn::ParameterRole::kFormula) {
      model_error(folder.weights_file().string(), "has a tensor of another method than " + shared_formula->name() +
                                                      ": found " + tensor_name);
    }
  }
  return adapter;
}

}  // namespace lora::peft
