#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "adapter_config.h"
#include "extra_modules.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/peft/adapter.h"
#include "lora/peft/method.h"
#include "lora_init.h"
#include "residuals.h"
#include "targets.h"
#include "tensor_file.h"

namespace lora::peft {

namespace {

const char* const kWeightsFile = "adapter_model.safetensors";
const char* const kPrefix = "base_model.model.";

class Lora : public Method {
 public:
  Lora(const LoraOptions& options, nn::Model& model, BaseReference base, uint64_t seed, std::string adapter_name)
      : options_(options), base_(std::move(base)), adapter_name_(std::move(adapter_name)), chosen_(choose_hosts(options, model)) {
    for (const nn::Parameter& parameter : model.base_parameters()) {
      parameter.tensor.set_requires_grad(false);
    }
    for (nn::Embedding* host : chosen_.embeddings) {
      attach(*host, seed);
    }
    for (nn::Linear* host : chosen_.hosts) {
      attach(*host, seed);
    }
    if (chosen_.tied_head != nullptr) {
      attach_tied(*chosen_.tied_head);
    }
    attach_extra(model);
    // As PEFT leaves it: as the last projection says.
    options_.fan_in_fan_out = !chosen_.hosts.empty() && chosen_.hosts.back()->layout() == nn::WeightLayout::kInOut;
    if (options_.init_from) {
      // As it stands, not as save() writes it: an adapter of PiSSA that PEFT did not convert holds the trained values alone.
      require_weights_file(*options_.init_from);
      check_base(options_.init_from->string(), base_fingerprint(io::SafetensorsFile(*options_.init_from / kWeightsFile)), base_);
      load_into(*options_.init_from / kWeightsFile, file_tensors(), frozen_);
    }
  }

  std::string name() const override { return options_.use_dora ? "DoRA" : "LoRA"; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return chosen_.matches; }
  std::string weights_file() const override { return kWeightsFile; }

  void save(const std::filesystem::path& folder) const override {
    const std::vector<io::NamedTensor> tensors = residuals_.portable(file_tensors());
    require_finite(tensors);
    io::save_tensors(folder / kWeightsFile, tensors, base_.metadata());
    write_file_atomically(folder / "adapter_config.json", adapter_config_text(residuals_.portable(options_), chosen_.targets, base_.name));
  }

  void load(const std::filesystem::path& folder) override {
    require_weights_file(folder);
    residuals_.load(folder / kWeightsFile, file_tensors());
  }

 private:
  struct Size {
    int64_t rank;
    double scale;
  };
  Size size_of(const nn::Host& host) const {
    const int64_t rank = pattern_value(options_.rank_pattern, host.name(), options_.r, "adapter.rank_pattern");
    const double alpha = pattern_value(options_.alpha_pattern, host.name(), options_.lora_alpha, "adapter.alpha_pattern");
    return {rank, scale_of(alpha, rank, options_.use_rslora)};
  }

  void attach(nn::Linear& host, uint64_t seed) {
    const Size size = size_of(host);
    const LowRankStart start = low_rank_start(options_, host, size.rank, size.scale, seed);
    if (changes_base(options_.init)) {
      residuals_.take_out(host, start, size.scale);
    }
    nn::LowRank pair = pair_of(start, size);
    train(host, ".lora_A.weight", pair.A_RI);
    train(host, ".lora_B.weight", pair.B_OR);
    if (options_.lora_bias) {
      pair.bias_O = low_rank_bias_start(options_, host, size.rank, seed).requires_grad_(true);
      train(host, ".lora_B.bias", *pair.bias_O, /*weight_decay=*/false);
    }
    attach(host, std::move(pair), host.weight());
  }

  void attach(nn::Embedding& host, uint64_t seed) {
    const Size size = size_of(host);
    LowRankStart start = embedding_start(options_, host, size.rank, seed);
    if (chosen_.tied_head != nullptr) {
      // PEFT starts what is shared as the head's.
      const LowRankStart of_head = low_rank_start(options_, *chosen_.tied_head, size.rank, size.scale, seed);
      start = {of_head.B_OR.t().contiguous(), of_head.A_RI.t().contiguous()};
    }
    nn::LowRank pair = pair_of(start, size);
    train(host, ".lora_embedding_A", pair.A_RI);
    train(host, ".lora_embedding_B", pair.B_OR);
    attach(host, std::move(pair), host.weight().t());
    frozen_.push_back({kPrefix + host.name() + ".base_layer.weight", host.weight().detach()});
  }

  /// ensure_weight_tying: the head's A is the memory of the embeddings' B and the other way round. As in PEFT each is a
  /// parameter with a gradient and moments of its own, so that the optimizer moves the memory twice a step.
  void attach_tied(nn::Linear& head) {
    const nn::LowRank& shared = chosen_.embeddings.front()->attachments().back();
    const Size size = size_of(head);
    if (size.rank != shared.A_RI.size(0)) {
      config_error("adapter.rank_pattern", "ensure_weight_tying needs one rank for the embeddings and the head: found " +
                                               std::to_string(shared.A_RI.size(0)) + " and " + std::to_string(size.rank));
    }
    nn::LowRank pair = pair_of({shared.B_OR.detach().t(), shared.A_RI.detach().t()}, size);
    train(head, ".lora_A.weight", pair.A_RI);
    train(head, ".lora_B.weight", pair.B_OR);
    attach(head, std::move(pair), head.weight());
  }

  /// The adapter is float32 whatever the base is (PEFT's autocast_adapter_dtype).
  nn::LowRank pair_of(const LowRankStart& start, const Size& size) const {
    return {.adapter = adapter_name_,
            .A_RI = start.A_RI.requires_grad_(true),
            .B_OR = start.B_OR.requires_grad_(true),
            .scale = size.scale,
            .dropout = options_.lora_dropout};
  }

  /// @param W_OI the host's weight as a projection has it.
  void attach(nn::MatrixHost& host, nn::LowRank pair, const Tensor& W_OI) {
    if (options_.use_dora) {
      const at::NoGradGuard no_grad;
      pair.magnitude_O = pair.norms.of(W_OI, pair.A_RI, pair.B_OR, pair.scale).clone().requires_grad_(true);
      train(host, ".lora_magnitude_vector", *pair.magnitude_O);
    }
    adapted_.insert(host.name());
    host.attach(std::move(pair));
  }

  void train(const nn::Host& host, const char* part, const Tensor& tensor, bool weight_decay = true) {
    parameters_.push_back({host.name() + part, tensor, weight_decay});
  }

  void attach_extra(nn::Model& model) {
    ExtraModules extra = attach_extra_modules(options_, model, adapted_, adapter_name_);
    parameters_.insert(parameters_.end(), extra.parameters.begin(), extra.parameters.end());
    chosen_.matches.insert(chosen_.matches.end(), extra.matches.begin(), extra.matches.end());
    aliases_ = std::move(extra.aliases);
    warn_of_tying(model);
    const nn::Linear* const head = model.find_head();
    if (head != nullptr && adapted_.count(head->name()) > 0) {
      frozen_.push_back({kPrefix + head->name() + ".base_layer.weight", head->weight().detach()});
    }
  }

  /// Says what PEFT says too, of an embedding and a head that share their weight.
  void warn_of_tying(nn::Model& model) const {
    if (model.find_head() == nullptr) {
      return;
    }
    const nn::Embedding* embeddings = input_embeddings(model);
    const nn::Linear& head = model.head();
    const bool trains_one = std::any_of(parameters_.begin(), parameters_.end(), [&](const nn::Parameter& parameter) {
      const bool is_of_either =
          parameter.name.starts_with(head.name() + ".") || (embeddings != nullptr && parameter.name.starts_with(embeddings->name() + "."));
      return is_of_either && !parameter.name.ends_with(".trainable_tokens_delta");
    });
    const char* const where = "[adapter.ensure_weight_tying] ";
    if (options_.ensure_weight_tying && !head.tied()) {
      log::warn(std::string(where) + "the model's head is not tied to its embeddings: nothing is tied");
    } else if (options_.ensure_weight_tying && !trains_one && options_.trainable_token_indices.empty()) {
      log::warn(std::string(where) + "neither the embeddings nor the head are trained by their names: nothing is tied");
    } else if (!options_.ensure_weight_tying && head.tied() && trains_one) {
      log::warn(std::string(where) +
                "the head is tied to the embeddings in the base and not in the adapter: they drift apart. "
                "true keeps them together");
    }
  }

  /// The trained tensors under PEFT's keys.
  std::vector<io::NamedTensor> file_tensors() const {
    std::vector<io::NamedTensor> tensors;
    for (const nn::Parameter& parameter : parameters_) {
      tensors.push_back({kPrefix + parameter.name, parameter.tensor.detach()});
    }
    for (const nn::Parameter& alias : aliases_) {
      tensors.push_back({kPrefix + alias.name, alias.tensor.detach()});
    }
    return tensors;
  }

  LoraOptions options_;
  BaseReference base_;
  std::string adapter_name_;
  ChosenHosts chosen_;
  std::set<std::string> adapted_;  ///< names of the modules with a pair
  std::vector<nn::Parameter> parameters_;
  std::vector<nn::Parameter> aliases_;   ///< trained tensors under further names of the file
  std::vector<io::NamedTensor> frozen_;  ///< the base's, which PEFT writes beside adapted embeddings and heads
  Residuals residuals_;
};

}  // namespace

std::unique_ptr<Method> attach_lora(const LoraOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                    const std::string& adapter_name) {
  return std::make_unique<Lora>(options, model, base, seed, adapter_name);
}

}  // namespace lora::peft
