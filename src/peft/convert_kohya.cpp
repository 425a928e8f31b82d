// kohya's adapters (sd-scripts, networks/lora.py): one file; module names with underscores for dots after a prefix for the
// network that they belong to; lora_down is A, lora_up is B, and each module has its alpha as a tensor (scale alpha / rank).
#include <ATen/ATen.h>

#include <array>
#include <map>
#include <set>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "peft/adapter_config.h"
#include "peft/format_entry.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

enum class KohyaPart { kDown, kUp, kAlpha };
constexpr std::array<std::pair<std::string_view, KohyaPart>, 3> kKohyaParts{
    {{".lora_down.weight", KohyaPart::kDown}, {".lora_up.weight", KohyaPart::kUp}, {".alpha", KohyaPart::kAlpha}}};

const char* const kPrefixPattern = R"(lora_(unet|te\d*|prior_unet|prior_te)_(?<rest>.+)$)";

/// Llama's modules, for a base that is not known: a name alone does not tell which underscores stand for dots.
const char* const kLlamaPattern = R"(model_layers_(?<layer>\d+)_(?<block>self_attn|mlp)_(?<proj>[qkvo]_proj|gate_proj|up_proj|down_proj)$)";

std::string with_underscores(std::string module) {
  std::replace(module.begin(), module.end(), '.', '_');
  return module;
}

/// From kohya's names to module names.
class KohyaNames {
 public:
  explicit KohyaNames(const BaseFacts& base) : is_known_(base.is_known()) {
    for (const std::string& module : base.modules) {
      modules_[with_underscores(module)].push_back(module);
    }
  }

  /// The module, or "" if there is none or more than one of this name.
  std::string module(const std::string& name) const {
    const std::string rest = prefix_.group_at_start(name, "rest");
    if (is_known_) {
      const auto found = modules_.find(rest);
      return found != modules_.end() && found->second.size() == 1 ? found->second.front() : "";
    }
    if (rest == "lm_head") {
      return "lm_head";
    }
    const std::string layer = llama_.group_at_start(rest, "layer");
    return layer.empty() ? ""
                         : "model.layers." + layer + "." + llama_.group_at_start(rest, "block") + "." + llama_.group_at_start(rest, "proj");
  }

 private:
  bool is_known_;
  std::map<std::string, std::vector<std::string>> modules_;
  Regex prefix_{kPrefixPattern, "kohya", ErrorKind::kModel};
  Regex llama_{kLlamaPattern, "kohya", ErrorKind::kModel};
};

using KohyaTensors = std::map<KohyaPart, Tensor>;

std::map<std::string, KohyaTensors> read_kohya_parts(const io::SafetensorsFile& file, const std::string& where) {
  std::map<std::string, KohyaTensors> modules;
  std::vector<std::string> unknown;
  for (const std::string& key : file.names()) {
    bool is_known = false;
    for (const auto& [end, part] : kKohyaParts) {
      if (key.ends_with(end)) {
        modules[key.substr(0, key.size() - end.size())][part] = file.tensor(key).to(at::kFloat);
        is_known = true;
      }
    }
    if (!is_known) {
      unknown.push_back(key);
    }
  }
  if (!unknown.empty()) {
    model_error(where,
                "found " + counted(static_cast<int64_t>(unknown.size()), "tensor") + " with unknown names: " + join(unknown, ", ", 2) +
                    ", expected names that end in .lora_down.weight, .lora_up.weight or .alpha. Likely cause: another method than LoRA.");
  }
  return modules;
}

LowRankUpdate kohya_update(const std::string& module, const KohyaTensors& parts, const std::string& where) {
  const auto down = parts.find(KohyaPart::kDown);
  const auto up = parts.find(KohyaPart::kUp);
  if (down == parts.end() || up == parts.end()) {
    model_error(where, std::string("has no ") + (down == parts.end() ? "lora_down" : "lora_up") + ": found only one half of the pair");
  }
  if (down->second.dim() != 2 || up->second.dim() != 2 || down->second.size(0) != up->second.size(1) || down->second.size(0) == 0) {
    model_error(where, "lora_down and lora_up do not match: expected [rank, inputs] and [outputs, rank]. Likely cause: a convolution.");
  }
  LowRankUpdate update;
  update.module = module;
  update.A_RI = down->second;
  update.B_OR = up->second;
  // Without alpha, kohya's own loaders use the rank.
  const auto alpha = parts.find(KohyaPart::kAlpha);
  update.alpha = alpha == parts.end() ? static_cast<double>(update.rank()) : alpha->second.flatten().sum().item<double>();
  if ((alpha != parts.end() && alpha->second.numel() != 1) || !(update.alpha > 0)) {
    model_error(where, "found alpha " + std::to_string(update.alpha) + ", expected one number above 0");
  }
  update.scale = scale_of(update.alpha, update.rank(), /*use_rslora=*/false);
  return update;
}

/// The metadata that sd-scripts' own tools show for a file.
std::map<std::string, std::string> metadata_of(const Adapter& adapter, const BaseFacts& base) {
  std::set<int64_t> ranks;
  for (const LowRankUpdate& update : adapter.low_rank()) {
    ranks.insert(update.rank());
  }
  std::map<std::string, std::string> metadata{{"format", "pt"}, {"ss_network_module", "networks.lora"}};
  metadata["ss_network_dim"] = ranks.size() == 1 ? std::to_string(*ranks.begin()) : "Dynamic";
  metadata["ss_network_alpha"] = ranks.size() == 1 ? number_json(commonest_plain_alpha(adapter.low_rank())).dump() : "Dynamic";
  if (!base.name.empty()) {
    metadata["ss_base_model_version"] = base.name;
  }
  return metadata;
}

}  // namespace

bool is_kohya(const fs::path& file) {
  const std::vector<std::string> names = io::SafetensorsFile(file).names();
  return std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.ends_with(kKohyaParts.front().first); });
}

std::string kohya_refusal(const LowRankUpdate& update, const BaseFacts&) {
  return update.is_embedding() ? "embeddings (the format is for linear modules and convolutions)" : convolution_refusal(update);
}

Adapter read_kohya(const fs::path& path, const BaseFacts& base) {
  const io::SafetensorsFile file(path);
  const KohyaNames names(base);
  Adapter adapter;
  adapter.weights_file = path;
  adapter.config = Json::object();
  for (const auto& [key, value] : file.metadata()) {
    adapter.config[key] = value;
  }
  std::vector<std::string> unresolved;
  std::set<std::string> taken;
  for (const auto& [name, parts] : read_kohya_parts(file, path.string())) {
    const std::string module = names.module(name);
    if (module.empty() || !taken.insert(module).second) {
      unresolved.push_back(name);
      continue;
    }
    adapter.updates.push_back(kohya_update(module, parts, path.string() + ": module '" + name + "'"));
  }
  if (!unresolved.empty()) {
    model_error(path.string(), "found " + counted(static_cast<int64_t>(unresolved.size()), "name") +
                                   " without exactly one matching module: " + join(unresolved, ", ", 2) +
                                   (base.is_known() ? ", expected modules of this base model"
                                                    : ", expected Llama's modules. For another base, give its folder with --model."));
  }
  return adapter;
}

void write_kohya(const fs::path& file, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  std::vector<io::NamedTensor> tensors;
  for (const LowRankUpdate& update : rounded(adapter.low_rank(), options.dtype)) {
    const std::string name = options.kohya_prefix + "_" + with_underscores(update.module);
    tensors.push_back({name + ".lora_down.weight", update.A_RI});
    tensors.push_back({name + ".lora_up.weight", update.B_OR});
    tensors.push_back({name + ".alpha", at::scalar_tensor(plain_alpha(update), at::kFloat)});
  }
  io::save_tensors(file, tensors, metadata_of(adapter, base));
}

}  // namespace lora::peft
