// MLX's adapters (mlx-lm, mlx_lm/tuner): lora_a [I, R] and lora_b [R, O], the transposes of PEFT's, under the modules' names;
// one scale and one rank for all modules in adapter_config.json; DoRA's magnitude as in PEFT, with the key `m`.
#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "lora/peft/file_names.h"
#include "peft/format_entry.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

const char* const kMlxWeightsFile = "adapters.safetensors";

/// mlx-lm's config names the modules of a layer by the part after the layer's number, and other modules by their whole name.
std::string key_of(const std::string& module) {
  static const Regex kLayer(R"(.*?\.\d+\.(?<rest>.+)$)", "mlx", ErrorKind::kModel);
  const std::string rest = kLayer.group_at_start(module, "rest");
  return rest.empty() ? module : rest;
}

/// The tensors of one module by the last part of their names.
using MlxTensors = std::map<std::string, Tensor>;

std::map<std::string, MlxTensors> read_mlx_parts(const fs::path& file) {
  static const std::set<std::string> kKnown{"lora_a", "lora_b", "m"};
  const io::SafetensorsFile tensors(file);
  std::map<std::string, MlxTensors> modules;
  std::vector<std::string> unknown;
  for (const std::string& name : tensors.names()) {
    const size_t dot = name.rfind('.');
    const std::string part = dot == std::string::npos ? name : name.substr(dot + 1);
    if (dot == std::string::npos || kKnown.count(part) == 0) {
      unknown.push_back(name);
    } else {
      modules[name.substr(0, dot)][part] = tensors.tensor(name).to(at::kFloat);
    }
  }
  if (!unknown.empty()) {
    model_error(file.string(), "found " + counted(static_cast<int64_t>(unknown.size()), "tensor") + " with unknown names: " +
                                   join(unknown, ", ", 2) + ", expected names that end in .lora_a, .lora_b or .m");
  }
  if (modules.empty()) {
    model_error(file.string(), "has no tensors: expected names that end in .lora_a and .lora_b");
  }
  return modules;
}

LowRankUpdate mlx_update(const std::string& module, const MlxTensors& parts, double scale, const fs::path& file) {
  const std::string where = file.string() + ": module '" + module + "'";
  const auto a = parts.find("lora_a");
  const auto b = parts.find("lora_b");
  if (a == parts.end() || b == parts.end()) {
    model_error(where, std::string("has no ") + (a == parts.end() ? "lora_a" : "lora_b") + ": found only one half of the pair");
  }
  if (a->second.dim() != 2 || b->second.dim() != 2 || a->second.size(1) != b->second.size(0) || b->second.size(0) == 0) {
    model_error(where, "lora_a and lora_b do not match: expected [inputs, rank] and [rank, outputs]");
  }
  LowRankUpdate update;
  update.module = module;
  update.A_RI = a->second.t().contiguous();
  update.B_OR = b->second.t().contiguous();
  update.scale = scale;
  update.alpha = scale * static_cast<double>(update.rank());
  update.kind = is_embedding_name(module) ? PairKind::kEmbedding : PairKind::kLinear;
  if (const auto magnitude = parts.find("m"); magnitude != parts.end()) {
    if (magnitude->second.numel() != update.B_OR.size(0)) {
      model_error(where, "m has a wrong length: found " + std::to_string(magnitude->second.numel()) + " values, expected " +
                             std::to_string(update.B_OR.size(0)));
    }
    update.magnitude_O = magnitude->second.flatten();
  }
  return update;
}

Json config_json(const Adapter& adapter, const std::vector<LowRankUpdate>& updates) {
  std::set<std::string> keys;
  for (const LowRankUpdate& update : updates) {
    keys.insert(key_of(update.module));
  }
  const bool is_dora = updates.front().magnitude_O.has_value();
  // -1: every layer. A layer that the adapter does not have gets factors whose product is zero.
  return {
      {"fine_tune_type", is_dora ? "dora" : "lora"},
      {"num_layers", -1},
      {"lora_parameters",
       {{"rank", updates.front().rank()}, {"scale", updates.front().scale}, {"dropout", adapter.options.lora_dropout}, {"keys", keys}}}};
}

}  // namespace

std::string mlx_refusal(const LowRankUpdate& update, const BaseFacts& base) {
  if (!update.is_embedding()) {
    return convolution_refusal(update);
  }
  if (update.magnitude_O) {
    return "embeddings with DoRA (MLX has one magnitude per token)";
  }
  return base.is_known() && !base.ties_embeddings()
             ? ""
             : "embeddings, which MLX would update together with a tied head (give an untied base with --model)";
}

Adapter read_mlx(const fs::path& folder, const BaseFacts& base) {
  const Json config = read_json(folder / kAdapterConfigFile, ErrorKind::kModel);
  const JsonReader reader(config, (folder / kAdapterConfigFile).string(), ErrorKind::kModel);
  const std::string type = reader.string("fine_tune_type", "lora");
  if (type != "lora" && type != "dora") {
    reader.fail("fine_tune_type", "\"lora\" or \"dora\"");
  }
  const JsonReader parameters = reader.object("lora_parameters");
  const double scale = parameters.number("scale");
  if (!(scale > 0)) {
    parameters.fail("scale", "a number above 0");
  }
  Adapter adapter;
  adapter.config = config;
  adapter.weights_file = folder / kMlxWeightsFile;
  adapter.options.use_dora = type == "dora";
  adapter.options.lora_dropout = parameters.number("dropout", 0.0);
  for (const auto& [module, parts] : read_mlx_parts(adapter.weights_file)) {
    LowRankUpdate update = mlx_update(module, parts, scale, adapter.weights_file);
    if (update.magnitude_O.has_value() != (type == "dora")) {
      model_error(adapter.weights_file.string() + ": module '" + module + "'",
                  std::string("found ") + (update.magnitude_O ? "a" : "no") + " magnitude m, but fine_tune_type is \"" + type + "\"");
    }
    if (const std::string reason = mlx_refusal(update, base); !reason.empty()) {
      model_error(adapter.weights_file.string() + ": module '" + module + "'",
                  "cannot be read: MLX's format does not support updates of " + reason);
    }
    adapter.updates.push_back(std::move(update));
  }
  return adapter;
}

void write_mlx(const fs::path& folder, const Adapter& adapter, const BaseFacts&, const WriteOptions& options) {
  const std::vector<LowRankUpdate> updates = rounded(uniform(adapter.low_rank()), options.dtype);
  std::vector<io::NamedTensor> tensors;
  for (const LowRankUpdate& update : updates) {
    tensors.push_back({update.module + ".lora_a", update.A_RI.t()});
    tensors.push_back({update.module + ".lora_b", update.B_OR.t()});
    if (update.magnitude_O) {
      tensors.push_back({update.module + ".m", *update.magnitude_O});
    }
  }
  io::save_tensors(folder / kMlxWeightsFile, tensors, {{"format", "mlx"}});
  write_file_atomically(folder / kAdapterConfigFile, config_json(adapter, updates).dump(4) + "\n");
}

}  // namespace lora::peft
