#include "peft/pair_parts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/io/tensors.h"
#include "peft/report.h"

namespace lora::peft {

namespace {

/// The part, or an undefined tensor.
Tensor tensor_part(const PairParts& parts, PairPart part) {
  const auto found = parts.find(part);
  return found == parts.end() ? Tensor() : found->second;
}

double alpha_of(const Tensor& alpha, int64_t rank, const std::string& where) {
  const double value = !alpha.defined() ? static_cast<double>(rank) : alpha.numel() == 1 ? alpha.item<double>() : 0;
  if (!(value > 0)) {
    model_error(
        where, "alpha must be one number above 0: found " + (alpha.numel() == 1 ? std::to_string(value) : counted(alpha.numel(), "value")));
  }
  return value;
}

/// One value for each output. LyCORIS has magnitudes of the columns instead, unless told otherwise.
Tensor magnitude_of(const Tensor& magnitude, const LowRankUpdate& update, const std::string& where) {
  const int64_t outputs = update.B_OR.size(0);
  const bool is_peft = magnitude.dim() == 4 && magnitude.size(0) == 1 && magnitude.size(1) == outputs && magnitude.numel() == outputs;
  if (magnitude.dim() == 0 || magnitude.numel() != outputs || (magnitude.size(0) != outputs && !is_peft)) {
    model_error(where, "DoRA's magnitude must have one value for each output: found " + io::shape_text(magnitude.sizes()) + ", expected " +
                           std::to_string(outputs) + " values. Likely cause: a file of LyCORIS, whose DoRA scales the inputs.");
  }
  return magnitude.flatten();
}

}  // namespace

LowRankUpdate update_of_parts(const std::string& module, const PairParts& parts, const std::string& where) {
  const Tensor down = tensor_part(parts, PairPart::kDown), up = tensor_part(parts, PairPart::kUp);
  if (!down.defined() || !up.defined()) {
    model_error(where, std::string("found only one half of the pair: ") + (down.defined() ? "its B (up)" : "its A (down)") + " is missing");
  }
  for (const auto& [part, tensor] : parts) {
    if (!at::isfinite(tensor).all().item<bool>()) {
      model_error(where, "has a value that is not finite (NaN or infinity). The file is damaged, or its training diverged.");
    }
  }
  LowRankUpdate update;
  update.module = module;
  if (!set_pair(update, {down, up})) {
    model_error(where, "A (down) and B (up) do not match: found " + io::shape_text(down.sizes()) + " and " + io::shape_text(up.sizes()) +
                           ", expected [rank, inputs] and [outputs, rank], or those of a convolution");
  }
  update.alpha = alpha_of(tensor_part(parts, PairPart::kAlpha), update.rank(), where);
  update.scale = scale_of(update.alpha, update.rank(), /*use_rslora=*/false);
  if (const Tensor magnitude = tensor_part(parts, PairPart::kMagnitude); magnitude.defined()) {
    update.magnitude_O = magnitude_of(magnitude, update, where);
  }
  if (const Tensor bias = tensor_part(parts, PairPart::kBias); bias.defined()) {
    if (bias.numel() != update.B_OR.size(0)) {
      model_error(where,
                  "the bias of lora_B must have " + std::to_string(update.B_OR.size(0)) + " values: found " + std::to_string(bias.numel()));
    }
    update.bias_O = bias.flatten();
  }
  return update;
}

std::map<std::string, PairParts> read_parts(const std::filesystem::path& path, ParsedKey (*parse)(const std::string& key),
                                            const std::string& expected) {
  const io::SafetensorsFile file(path);
  std::map<std::string, PairParts> modules;
  std::vector<std::string> unknown, repeated;
  for (const std::string& key : file.names()) {
    const ParsedKey parsed = parse(key);
    if (parsed.module.empty()) {
      unknown.push_back(key);
    } else if (!modules[parsed.module].emplace(parsed.part, file.tensor(key).to(at::kFloat)).second) {
      repeated.push_back(key);
    }
  }
  if (!unknown.empty()) {
    model_error(path.string(), "found " + counted(static_cast<int64_t>(unknown.size()), "tensor") +
                                   " with unknown names: " + join(unknown, ", ", kNamesShown) + ", expected " + expected +
                                   ". Likely cause: another method than LoRA, or another kind of model.");
  }
  if (!repeated.empty()) {
    model_error(path.string(), "found " + counted(static_cast<int64_t>(repeated.size()), "tensor") +
                                   " of the same module and part as another one: " + join(repeated, ", ", kNamesShown));
  }
  return modules;
}

bool has_known_key(const std::filesystem::path& path, ParsedKey (*parse)(const std::string& key)) {
  const std::vector<std::string> names = io::SafetensorsFile(path).names();
  return std::any_of(names.begin(), names.end(), [parse](const std::string& name) { return !parse(name).module.empty(); });
}

}  // namespace lora::peft
