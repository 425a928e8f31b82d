#include "peft/bottleneck.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/nn/bottleneck.h"
#include "lora/nn/tap.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/file_names.h"
#include "peft/bottleneck_files.h"
#include "peft/extra_modules.h"
#include "peft/generators.h"

namespace lora::peft {

namespace {

using at::Tensor;

/// The end of a block where a bottleneck is attached.
struct Place {
  nn::Tap* tap;
  int64_t layer;
  bool is_attention;
};

/// Every end of a block, in the model's order.
std::vector<Place> places_of(nn::Model& model) {
  std::vector<Place> places;
  for (nn::Host* host : model.taps()) {
    if (auto* const tap = dynamic_cast<nn::Tap*>(host)) {
      const auto index = static_cast<int64_t>(places.size());
      places.push_back({tap, index / 2, index % 2 == 0});  // each layer has two, attention's first
    }
  }
  if (places.empty()) {
    config_error("adapter.peft_type",
                 "needs a model with layers of attention and feed-forward blocks: found none in this model. Use a method that adapts "
                 "projections, such as LORA.");
  }
  return places;
}

void require_layers(const BottleneckOptions& options, int64_t num_layers) {
  const auto require_index = [num_layers](const char* key, int64_t layer) {
    if (layer >= num_layers) {
      config_error(key, "names a layer that the model does not have: found " + std::to_string(layer) + ", expected numbers below " +
                            std::to_string(num_layers));
    }
  };
  for (const int64_t layer : options.leave_out) {
    require_index("adapter.leave_out", layer);
  }
  for (const auto& [layer, factor] : options.reduction_of_layers) {
    require_index("adapter.reduction_factor", layer);
  }
}

/// The places that the options choose.
std::vector<Place> chosen_places(const BottleneckOptions& options, nn::Model& model) {
  std::vector<Place> chosen;
  const std::vector<Place> all = places_of(model);
  require_layers(options, all.back().layer + 1);
  for (const Place& place : all) {
    const bool is_left_out = std::find(options.leave_out.begin(), options.leave_out.end(), place.layer) != options.leave_out.end();
    if (!is_left_out && (place.is_attention ? options.mh_adapter : options.output_adapter)) {
      chosen.push_back(place);
    }
  }
  if (chosen.empty()) {
    config_error("adapter.leave_out", "leaves no layer with an adapter: expected at least one of the model's " +
                                          std::to_string(all.back().layer + 1) + " layers");
  }
  return chosen;
}

int64_t width_of(const BottleneckOptions& options, int64_t layer, int64_t channels) {
  const auto own = options.reduction_of_layers.find(layer);
  if (own == options.reduction_of_layers.end() && !options.has_default_reduction) {
    config_error("adapter.reduction_factor", "has no value for layer " + std::to_string(layer) + ": give one, or a \"default\"");
  }
  const double factor = own == options.reduction_of_layers.end() ? options.reduction_factor : own->second;
  return std::max<int64_t>(1, static_cast<int64_t>(std::floor(static_cast<double>(channels) / factor)));
}

/// A new weight of a projection: a function of (seed, name), or of init_weights_seed alone.
Tensor initial_weight(const BottleneckOptions& options, at::IntArrayRef shape, bool is_down, uint64_t seed, const std::string& name) {
  at::Generator generator = options.init_weights_seed
                                ? generator_of(static_cast<uint64_t>(*options.init_weights_seed), is_down ? "down" : "up")
                                : generator_of(seed, name);
  Tensor weight = at::zeros(shape, at::kFloat);
  if (options.init == BottleneckInit::kBert) {
    return weight.normal_(0.0, 0.02, generator);
  }
  if (options.init == BottleneckInit::kMamAdapter) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(shape[1]));
    return is_down ? weight.uniform_(-bound, bound, generator) : weight;
  }
  // Truncated at two deviations, by the inverse of the normal distribution function, as torch.nn.init.trunc_normal_.
  constexpr double kDeviation = 0.01;
  const double limit = std::erf(2.0 / std::sqrt(2.0));
  return weight.uniform_(-limit, limit, generator).erfinv_().mul_(kDeviation * std::sqrt(2.0)).clamp_(-2 * kDeviation, 2 * kDeviation);
}

/// The modules of a stored head.
std::vector<std::string> head_modules(const StoredTensors& head) {
  std::vector<std::string> modules;
  for (const auto& [name, tensor] : head) {
    modules.push_back(name.substr(0, name.rfind('.')));
  }
  return modules;
}

class BottleneckMethod : public Method {
 public:
  BottleneckMethod(const BottleneckOptions& options, nn::Model& model, BaseReference base, uint64_t seed, std::string adapter_name)
      : options_(options), base_(std::move(base)), adapter_name_(std::move(adapter_name)), device_(model.device()) {
    model.freeze_base();
    for (const Place& place : chosen_places(options_, model)) {
      attach(place, seed);
    }
    for (TargetMatch& match : places_by_key_) {
      if (!match.hosts.empty()) {
        matches_.push_back(std::move(match));
      }
    }
    attach_head(model);
  }

  std::string name() const override { return "bottleneck adapter"; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return matches_; }
  std::string weights_file() const override { return kBottleneckWeightsFile; }

  void save(const std::filesystem::path& folder) const override {
    write_bottleneck_files(folder, options_, hidden_size_, base_, adapter_, head_);
  }

  void load(const std::filesystem::path& folder) override {
    const BottleneckFiles files = read_bottleneck_files(folder);
    load_into(folder.string(), files.adapter, adapter_);
    load_into(folder.string(), files.head, head_);
    nn::trained_weights_changed();
  }

  /// Loads the values of an adapter that may be another program's: of a model around this one, or of its body alone; with a head that
  /// the model does not have.
  void continue_from(const std::filesystem::path& folder) {
    const BottleneckFiles files = read_bottleneck_files(folder);
    require_base(folder.string(), files.metadata, base_);
    load_into(folder.string(), aligned(files.adapter), adapter_);
    if (!head_.empty()) {
      load_into(folder.string(), files.head, head_);
    } else if (!files.head.empty()) {
      log::warn("[" + folder.string() + "] its head is ignored, because this model predicts tokens");
    }
    nn::trained_weights_changed();
  }

 private:
  void attach(const Place& place, uint64_t seed) {
    hidden_size_ = place.tap->dim();
    const int64_t channels = hidden_size_, width = width_of(options_, place.layer, channels);
    nn::Bottleneck own(adapter_name_, bottleneck_key(place.tap->name(), adapter_name_), options_.form);
    const std::string down = options_.ln_before ? "adapter_down.1" : "adapter_down.0";  // after the norm in a torch.nn.Sequential
    const auto weight = [&](const std::string& part, int64_t rows, int64_t columns, bool is_down) {
      const std::string name = bottleneck_key(place.tap->name(), part);
      return train(name, initial_weight(options_, {rows, columns}, is_down, seed, name), /*weight_decay=*/true);
    };
    const auto vector = [&](const std::string& part, int64_t size, double value, bool decays = false) {
      return train(bottleneck_key(place.tap->name(), part), at::full({size}, value, at::kFloat), decays);
    };
    if (options_.ln_before) {
      // PyTorch registers it twice, under its own name and as the first of the Sequential: the library's files have both.
      own.norm_before = {vector("adapter_norm_before.weight", channels, 1.0), vector("adapter_norm_before.bias", channels, 0.0)};
      repeat(place.tap->name(), "adapter_down.0.weight", own.norm_before->weight_D);
      repeat(place.tap->name(), "adapter_down.0.bias", own.norm_before->bias_D);
    }
    own.down_BD = weight(down + ".weight", width, channels, true);
    own.down_bias_B = vector(down + ".bias", width, 0.0);
    own.up_DB = weight("adapter_up.weight", channels, width, false);
    own.up_bias_D = vector("adapter_up.bias", channels, 0.0);
    if (options_.scaling != BottleneckScaling::kFixed) {
      own.scaling = vector("scaling", options_.scaling == BottleneckScaling::kLearned ? 1 : channels, 1.0, /*decays=*/true);
    }
    if (options_.ln_after) {
      own.norm_after = {vector("adapter_norm_after.weight", channels, 1.0), vector("adapter_norm_after.bias", channels, 0.0)};
    }
    places_by_key_[place.is_attention ? 0 : 1].hosts.push_back(place.tap->name());
    place.tap->attach(std::move(own));
  }

  /// The trained tensor, on the device of the model.
  Tensor train(const std::string& name, const Tensor& start, bool weight_decay) {
    const Tensor tensor = start.to(device_).requires_grad_(true);
    parameters_.push_back({name, tensor, weight_decay});
    adapter_.push_back({name, tensor.detach()});
    return tensor;
  }

  void repeat(const std::string& tap, const std::string& part, const Tensor& tensor) {
    adapter_.push_back({bottleneck_key(tap, part), tensor.detach()});
  }

  void attach_head(nn::Model& model) {
    ExtraModules extra = attach_extra_modules(options_, model, {}, adapter_name_);
    for (const ExtraModules::Trained& trained : extra.trained) {
      parameters_.push_back({trained.held.name, trained.held.tensor, trained.weight_decay});
      head_.push_back({trained.held.name, trained.held.tensor.detach()});
    }
    matches_.insert(matches_.end(), extra.matches.begin(), extra.matches.end());
  }

  /// The stored tensors under this model's names. A file of the body alone lacks the first part of each name, and a file of a model around
  /// this one has more in front.
  StoredTensors aligned(const StoredTensors& stored) const {
    StoredTensors result;
    for (const auto& [name, tensor] : stored) {
      const auto same_module = [&name = name](const io::NamedTensor& own) {
        return own.name == name || own.name.ends_with("." + name) || name.ends_with("." + own.name);
      };
      const auto found = std::find_if(adapter_.begin(), adapter_.end(), same_module);
      result.emplace(found == adapter_.end() ? name : found->name, tensor);
    }
    return result;
  }

  BottleneckOptions options_;
  BaseReference base_;
  std::string adapter_name_;
  at::Device device_;
  int64_t hidden_size_ = 0;
  std::vector<nn::Parameter> parameters_;
  std::vector<io::NamedTensor> adapter_, head_;  ///< as in the files
  std::vector<TargetMatch> places_by_key_{{"mh_adapter", {}}, {"output_adapter", {}}};
  std::vector<TargetMatch> matches_;
};

/// The options with the modules of a stored head that the model has, so that a head of more than its last projection is loaded.
BottleneckOptions with_stored_head(BottleneckOptions options, nn::Model& model) {
  if (!options.init_from || options.modules_to_save.empty()) {
    return options;
  }
  for (const std::string& module : head_modules(read_bottleneck_files(*options.init_from).head)) {
    const std::vector<nn::Host*> hosts = model.hosts();
    const bool is_there = std::any_of(hosts.begin(), hosts.end(), [&module](const nn::Host* host) { return host->name() == module; });
    std::vector<std::string>& saved = options.modules_to_save;
    if (is_there && std::find(saved.begin(), saved.end(), module) == saved.end()) {
      saved.push_back(module);
    }
  }
  return options;
}

}  // namespace

std::unique_ptr<Method> attach_bottleneck(const BottleneckOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                          const std::string& adapter_name) {
  auto method = std::make_unique<BottleneckMethod>(with_stored_head(options, model), model, base, seed, adapter_name);
  if (options.init_from) {
    method->continue_from(*options.init_from);
  }
  return method;
}

void require_bottleneck_places(const BottleneckOptions& options, nn::Model& model) {
  chosen_places(options, model);
}

BottleneckOptions bottleneck_of(BottleneckKind kind) {
  BottleneckOptions options;
  options.mh_adapter = kind == BottleneckKind::kDoubleSeqBn;
  options.form.original_ln_before = kind == BottleneckKind::kSeqBn;
  if (kind == BottleneckKind::kDoubleSeqBn) {
    options.form.activation = nn::BottleneckActivation::kSilu;
  }
  if (kind == BottleneckKind::kParBn) {
    options.reduction_factor = 2;
    options.init = BottleneckInit::kMamAdapter;
    options.form.is_parallel = true;
    options.form.scaling = 4.0;
  }
  return options;
}

}  // namespace lora::peft
