#include "peft/lora.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/random.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"
#include "peft/base_values.h"
#include "peft/extra_modules.h"
#include "peft/keys.h"
#include "peft/loftq.h"
#include "peft/lora_init.h"
#include "peft/missing_tensors.h"
#include "peft/renamed_options.h"
#include "peft/residuals.h"
#include "peft/targets.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

std::vector<std::string> module_names(nn::Model& model) {
  std::vector<std::string> names;
  for (const nn::Host* host : model.hosts()) {
    names.push_back(host->name());
  }
  return names;
}

PairKind kind_of(const nn::MatrixHost& host) {
  if (dynamic_cast<const nn::Embedding*>(&host) != nullptr) {
    return PairKind::kEmbedding;
  }
  return host.layout() == nn::WeightLayout::kInOut ? PairKind::kConv1D : PairKind::kLinear;
}

/// The adapter that training continues from or that is used, and the options, both with the model's names of the modules.
struct Start {
  Start(const LoraOptions& given, nn::Model& model) : options(given) {
    if (given.init_from) {
      folder.emplace(*given.init_from);
      const std::vector<RenamedModule> renamed = folder->align(module_names(model));
      options = renamed.empty() ? given : renamed_options(given, renamed);
    }
  }

  std::optional<AdapterFolder> folder;
  LoraOptions options;
};

class Lora : public Method {
 public:
  Lora(const LoraOptions& options, nn::Model& model, BaseReference base, uint64_t seed, std::string adapter_name,
       const std::vector<ModuleStart>& starts)
      : options_(options),
        base_(std::move(base)),
        model_(model),
        starts_(starts),
        adapter_name_(std::move(adapter_name)),
        chosen_(choose_hosts(options, model, /*warns=*/true)),
        base_values_(model, adapter_name_) {
    model.freeze_base();
    for (nn::Embedding* host : chosen_.embeddings) {
      attach(*host, seed);
    }
    for (nn::Linear* host : chosen_.hosts) {
      attach(*host, seed);
    }
    for (nn::MatrixHost* host : chosen_.convolutions) {
      attach_to_convolution(*host, seed);
    }
    if (chosen_.tied_head != nullptr) {
      attach_tied(*chosen_.tied_head);
    }
    attach_extra(model);
    base_.corrects_quantization = options_.init == LoraInit::kLoftq;
    // As in PEFT, the last projection decides.
    options_.fan_in_fan_out = !chosen_.hosts.empty() && chosen_.hosts.back()->layout() == nn::WeightLayout::kInOut;
  }

  /// Loads the values directly, because the file need not be one that save() wrote: a PiSSA adapter that PEFT did not convert contains only
  /// the trained values.
  /// @param file aligned with the model.
  void continue_from(const AdapterFolder& file) {
    const std::string where = options_.init_from->string();
    require_base(where, file.metadata(), base_);
    base_.corrects_quantization = corrects_quantization(file.metadata());
    const StoredTensors stored = take_stored(file);
    MayMiss may_miss{options_.bias != TrainedBias::kNone, options_.init != LoraInit::kRandom, {}};
    for (const AdapterTensor& alias : tensors_of(aliases_)) {
      may_miss.names.insert(alias.name);
    }
    load_into(file.weights_file().string(), stored, named_tensors(without_missing(tensors_of(own_updates()), file, may_miss)));
    announce_changes();
  }

  std::string name() const override { return options_.use_dora ? "DoRA" : "LoRA"; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return chosen_.matches; }
  std::string weights_file() const override { return kAdapterWeightsFile; }

  void save(const std::filesystem::path& folder) const override {
    std::vector<AdapterUpdate> updates = residuals_.portable(own_updates());
    const std::vector<AdapterUpdate> of_base = base_values_.updates(adapted_);
    updates.insert(updates.end(), of_base.begin(), of_base.end());
    const std::vector<io::NamedTensor> tensors = file_tensors(updates);
    require_finite(tensors);
    io::save_tensors(folder / kAdapterWeightsFile, tensors, base_.metadata());
    write_file_atomically(folder / kAdapterConfigFile, adapter_config_text(residuals_.portable(options_), chosen_.targets, base_.name));
  }

  void load(const std::filesystem::path& folder) override {
    AdapterFolder file(folder);
    file.align(module_names(model_));
    residuals_.load(file.weights_file().string(), take_stored(file), own_updates());
    announce_changes();
  }

 private:
  /// A file has values of the base too: those that residuals change, and those that the adapter replaces.
  static void announce_changes() {
    nn::trained_weights_changed();
    nn::base_weights_changed();
  }

  PairSize size_of(const nn::Host& host) const { return pair_size(options_, host.name()); }

  /// These initializations start from a part of the weight, which a packed weight has only approximately.
  void require_start(const nn::Linear& host) const {
    if (!changes_base(options_.init) || !host.weights().front().is_quantised()) {
      return;
    }
    const std::string with = "on the packed weight of " + host.name();
    if (options_.keeps_base) {
      model_error(options_.init_from->string(), "was trained on a base from which its initialization was subtracted, which cannot be "
                                                "repeated " + with + ": use it on the base of plain numbers, or save it with PEFT's "
                                                "path_initial_model_for_weight_conversion");
    }
    if (options_.use_dora) {
      config_error("adapter.use_dora", "cannot be combined with \"" + std::string(kNamedInits.name(options_.init)) + "\" " + with +
                                           ": choose another initialization");
    }
  }

  /// LoftQ starts from the error of a packed weight; where there is none, and for an adapter that is read from a file, from zero.
  LowRankStart start_of(const nn::Linear& host, const PairSize& size, uint64_t seed) const {
    if (!starts_.empty()) {
      return given_start(host);
    }
    const bool is_packed = host.weights().front().is_quantised();
    if (options_.init != LoraInit::kLoftq || !is_packed || options_.init_from) {
      return low_rank_start(options_, host, size.rank, size.scale, seed);
    }
    if (!base_.plain_weight) {
      config_error("adapter.init_lora_weights",
                   "\"loftq\" starts from what quantising the base has lost: found weights that the model's folder holds packed, expected "
                   "a folder of plain numbers with model.quantization");
    }
    return loftq_start(host, base_.plain_weight(host.name() + ".weight"), size.rank, size.scale, mix64(seed, hash_name(a_name(host))));
  }

  LowRankStart given_start(const nn::Linear& host) const {
    for (const ModuleStart& start : starts_) {
      if (start.module == host.name()) {
        return {start.A_RI.to(host.matrix()->device()).clone(), start.B_OR.to(host.matrix()->device()).clone()};
      }
    }
    model_error(host.name(), "has no initial values among those that were computed from the data");
  }

  void attach(nn::Linear& host, uint64_t seed) {
    const PairSize size = size_of(host);
    require_start(host);
    const LowRankStart start = start_of(host, size, seed);
    if (changes_base(options_.init) && options_.keeps_base) {
      attach_with_start(host, size, start);
      return;
    }
    if (changes_base(options_.init)) {
      residuals_.take_out(host, start, size.scale, adapter_name_);
    }
    attach(host, pair_with_bias(start, host, size, seed), size);
  }

  /// [A; A0] and [B, -B0], as from Residuals::portable(). The parts that the file has are views of them.
  void attach_with_start(nn::Linear& host, const PairSize& size, const LowRankStart& start) {
    attach(host, {adapter_name_, at::cat({start.A_RI, start.A_RI}, 0), at::cat({start.B_OR, -start.B_OR}, 1), size.scale}, size);
  }

  /// A convolves as the base does, and B the single pixels of its result.
  void attach_to_convolution(nn::MatrixHost& host, uint64_t seed) {
    const PairSize size = size_of(host);
    LowRankStart start = low_rank_start(options_, host, size.rank, size.scale, seed);
    std::vector<int64_t> of_A = host.matrix()->tensor().sizes().vec(), of_B(of_A.size(), 1);
    of_A[0] = of_B[1] = size.rank;
    of_B[0] = host.matrix()->out_features();
    start = {start.A_RI.view(of_A), start.B_OR.view(of_B)};
    attach(host, pair_with_bias(start, host, size, seed), size);
  }

  void attach(nn::Embedding& host, uint64_t seed) {
    const PairSize size = size_of(host);
    LowRankStart start = embedding_start(options_, host, size.rank, seed);
    if (chosen_.tied_head != nullptr) {
      // PEFT initializes the shared pair as the head's.
      const LowRankStart of_head = low_rank_start(options_, *chosen_.tied_head, size.rank, size.scale, seed);
      start = {of_head.B_OR.t().contiguous(), of_head.A_RI.t().contiguous()};
    }
    attach(host, pair_of(start, size), size);
  }

  /// ensure_weight_tying: the head's A shares memory with the embeddings' B and vice versa. As in PEFT each is a parameter with its own
  /// gradient and moments, so that the optimizer updates the memory twice per step.
  void attach_tied(nn::Linear& head) {
    const nn::LowRank& shared = *chosen_.embeddings.front()->attached<nn::LowRank>().back();
    const PairSize size = size_of(head);
    if (size.rank != shared.A_RI.size(0)) {
      config_error("adapter.rank_pattern", "ensure_weight_tying needs one rank for the embeddings and the head: found " +
                                               std::to_string(shared.A_RI.size(0)) + " and " + std::to_string(size.rank));
    }
    attach(head, pair_of({shared.B_OR.detach().t(), shared.A_RI.detach().t()}, size), size);
  }

  nn::LowRank pair_with_bias(const LowRankStart& start, const nn::MatrixHost& host, const PairSize& size, uint64_t seed) const {
    nn::LowRank pair = pair_of(start, size);
    if (options_.lora_bias) {
      pair.bias_O = low_rank_bias_start(options_, host, size.rank, seed).requires_grad_(true);
    }
    return pair;
  }

  /// The adapter is float32 whatever the dtype of the base (PEFT's autocast_adapter_dtype).
  nn::LowRank pair_of(const LowRankStart& start, const PairSize& size) const {
    return {adapter_name_, start.A_RI.requires_grad_(true), start.B_OR.requires_grad_(true), size.scale, options_.lora_dropout};
  }

  /// @param pair whose first `size.rank` directions are trained.
  void attach(nn::MatrixHost& host, nn::LowRank pair, const PairSize& size) {
    if (options_.use_dora) {
      const at::NoGradGuard no_grad;
      const Tensor norm_O = pair.norms.computed(host.matrix(), pair.A_RI.flatten(1), pair.B_OR.flatten(1), pair.scale);
      std::vector<int64_t> sizes(static_cast<size_t>(pair.A_RI.dim()), 1);
      sizes[1] = norm_O.numel();
      pair.magnitude_O = (pair.A_RI.dim() == 2 ? norm_O : norm_O.view(sizes)).requires_grad_(true);
    }
    if (pair.A_RI.dim() > 2) {
      train_convolution(host, pair, size);
    } else {
      const bool is_whole = pair.A_RI.size(0) == size.rank;
      train(LowRankUpdate{.module = host.name(),
                          .A_RI = is_whole ? pair.A_RI : pair.A_RI.slice(0, 0, size.rank),
                          .B_OR = is_whole ? pair.B_OR : pair.B_OR.slice(1, 0, size.rank),
                          .alpha = size.alpha,
                          .scale = size.scale,
                          .magnitude_O = pair.magnitude_O,
                          .bias_O = pair.bias_O,
                          .kind = kind_of(host)});
    }
    adapted_.insert(host.name());
    host.attach(std::move(pair));
  }

  /// The update's matrices share the memory of the trained tensors, which have the shapes of the file.
  void train_convolution(const nn::MatrixHost& host, const nn::LowRank& pair, const PairSize& size) {
    LowRankUpdate update{.module = host.name(),
                         .A_RI = pair.A_RI.detach().flatten(1),
                         .B_OR = pair.B_OR.detach().flatten(1),
                         .alpha = size.alpha,
                         .scale = size.scale,
                         .magnitude_O = pair.magnitude_O ? std::optional(pair.magnitude_O->detach().flatten()) : std::nullopt,
                         .bias_O = pair.bias_O,
                         .kind = PairKind::kConvolution,
                         .kernel = pair.A_RI.sizes().slice(2).vec()};
    const std::vector<AdapterTensor> of_file = tensors_of(update);
    const std::vector<Tensor> trained = pair.tensors();
    for (size_t i = 0; i < trained.size(); ++i) {
      add_parameter(of_file[i], trained[i], /*weight_decay=*/true, size.scale);
    }
    updates_.emplace_back(std::move(update));
  }

  void add_parameter(const AdapterTensor& tensor, const Tensor& trained, bool weight_decay, double scale) {
    parameters_.push_back({tensor.wrapped_name(), trained, weight_decay && tensor.role != ParameterRole::kLowRankBias, tensor.role, scale});
  }

  void train(AdapterUpdate update, bool weight_decay = true) {
    const auto* const pair = std::get_if<LowRankUpdate>(&update);
    for (const AdapterTensor& tensor : tensors_of(update)) {
      add_parameter(tensor, tensor.tensor, weight_decay, pair == nullptr ? 1.0 : pair->scale);
    }
    updates_.push_back(std::move(update));
  }

  void attach_extra(nn::Model& model) {
    ExtraModules extra = attach_extra_modules(options_, model, adapted_, adapter_name_);
    for (ExtraModules::Trained& trained : extra.trained) {
      train(std::move(trained.held), trained.weight_decay);
    }
    chosen_.matches.insert(chosen_.matches.end(), extra.matches.begin(), extra.matches.end());
    aliases_ = std::move(extra.aliases);
    warn_of_tying(model);
  }

  /// Warns, like PEFT, about an embedding and a head that share their weight.
  void warn_of_tying(nn::Model& model) const {
    if (model.head() == nullptr) {
      return;
    }
    const nn::Embedding* embeddings = input_embeddings(model);
    const nn::Linear& head = *model.head();
    const bool trains_one = std::any_of(parameters_.begin(), parameters_.end(), [&](const nn::Parameter& parameter) {
      const bool is_of_either =
          parameter.name.starts_with(head.name() + ".") || (embeddings != nullptr && parameter.name.starts_with(embeddings->name() + "."));
      return is_of_either && parameter.role != ParameterRole::kTokenRows;
    });
    const char* const where = "[adapter.ensure_weight_tying] ";
    if (options_.ensure_weight_tying && !head.tied()) {
      log::warn(std::string(where) + "the model's head is not tied to its embeddings, so nothing is tied");
    } else if (options_.ensure_weight_tying && !trains_one && options_.trainable_token_indices.empty()) {
      log::warn(std::string(where) + "neither the embeddings nor the head are trained by name, so nothing is tied");
    } else if (!options_.ensure_weight_tying && head.tied() && trains_one) {
      log::warn(std::string(where) +
                "the head is tied to the embeddings in the base but not in the adapter, so that they drift apart. "
                "Set it to true to keep them tied.");
    }
  }

  /// The file's tensors except those of the base, which are put in place.
  StoredTensors take_stored(const AdapterFolder& file) {
    std::set<std::string> own;
    for (const AdapterTensor& tensor : tensors_of(own_updates())) {
      own.insert(tensor.name);
    }
    // After a vocabulary was resized, PEFT saves the rows of tied embeddings a second time, under the head's name.
    const auto repeats_rows = [&](const AdapterTensor& tensor) {
      return tensor.role == ParameterRole::kTokenRows && std::any_of(own.begin(), own.end(), [&](const std::string& name) {
               const auto other = file.tensors().find(name);
               return other != file.tensors().end() && other->second.role == ParameterRole::kTokenRows &&
                      same_values(other->second.tensor, tensor.tensor);
             });
    };
    StoredTensors stored;
    std::vector<AdapterTensor> of_base;
    for (const auto& [name, tensor] : file.tensors()) {
      if (own.count(name) > 0 || (!tensor.of_base && !repeats_rows(tensor))) {
        stored.emplace(name, tensor.tensor);
      } else if (tensor.of_base) {
        of_base.push_back(tensor);
      }
    }
    base_values_.put(of_base, file.weights_file().string());
    return stored;
  }

  /// What is trained, including the further names of tied tensors in the file.
  std::vector<AdapterUpdate> own_updates() const {
    std::vector<AdapterUpdate> updates = updates_;
    updates.insert(updates.end(), aliases_.begin(), aliases_.end());
    return updates;
  }

  LoraOptions options_;
  BaseReference base_;
  nn::Model& model_;
  std::vector<ModuleStart> starts_;  ///< computed from data; empty: none
  std::string adapter_name_;
  ChosenHosts chosen_;
  std::set<std::string> adapted_;  ///< names of the modules with a pair
  std::vector<AdapterUpdate> updates_;
  std::vector<AdapterUpdate> aliases_;     ///< trained tensors under further names of the file
  std::vector<nn::Parameter> parameters_;  ///< the tensors of updates_
  BaseValues base_values_;
  Residuals residuals_;
};

}  // namespace

std::unique_ptr<Method> attach_lora(const LoraOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                    const std::string& adapter_name, const std::vector<ModuleStart>& starts) {
  const Start start(options, model);
  auto lora = std::make_unique<Lora>(start.options, model, base, seed, adapter_name, starts);
  if (start.folder) {
    lora->continue_from(*start.folder);
  }
  return lora;
}

void require_lora_targets(const LoraOptions& options, nn::Model& model) {
  choose_hosts(Start(options, model).options, model, /*warns=*/false);
}

}  // namespace lora::peft
