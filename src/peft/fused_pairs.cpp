// A [R, I] and B [O, R], O the outputs of all parts.
#include "peft/fused_pairs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "lora/base/error.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

constexpr std::string_view kTransformerPrefix = "transformer.";
constexpr int64_t kFeedForwardWidth = 4;  // outputs of FLUX.1's proj_mlp, as a multiple of its inputs

/// The outputs of a fused module's part.
int64_t part_width(const std::string& part, int64_t inputs) {
  return part.ends_with(".proj_mlp") ? kFeedForwardWidth * inputs : inputs;
}

/// The last norm's changes, and those of the text in Stable Diffusion 3's last block, are scale and shift in diffusers, but shift and scale
/// in the original code. Other norms have more than two changes.
LowRankUpdate with_halves_of_other_code(LowRankUpdate update, const std::string& part) {
  const int64_t inputs = update.A_RI.size(1), outputs = update.B_OR.size(0);
  const bool is_norm = part == "norm_out.linear" || part.ends_with(".norm1_context.linear");
  if (is_norm && outputs == 2 * inputs) {
    update.B_OR = at::cat({update.B_OR.narrow(0, inputs, inputs), update.B_OR.narrow(0, 0, inputs)});
  }
  return update;
}

[[noreturn]] void fail_shapes(const LowRankUpdate& update, int64_t outputs, const std::string& where) {
  model_error(where, "module '" + update.module + "' has another shape than its projection: found " +
                         std::to_string(update.B_OR.size(0)) + " outputs for " + std::to_string(update.A_RI.size(1)) +
                         " inputs, expected " + std::to_string(outputs));
}

/// @param parts the updates that there are, by the number of the part.
LowRankUpdate fused(const OriginalModule& module, const std::map<size_t, LowRankUpdate>& parts, const std::string& where) {
  const LowRankUpdate& first = parts.begin()->second;
  const int64_t inputs = first.A_RI.size(1);
  int64_t rank = 0;
  for (const auto& [number, update] : parts) {
    rank = std::max(rank, update.rank());
  }
  std::vector<Tensor> downs, ups;
  const auto count = static_cast<int64_t>(module.parts.size());
  for (size_t i = 0; i < module.parts.size(); ++i) {
    const int64_t width = part_width(module.parts[i], inputs);
    downs.push_back(at::zeros({rank, inputs}, at::kFloat));
    ups.push_back(at::zeros({width, count * rank}, at::kFloat));
    const auto found = parts.find(i);
    if (found == parts.end()) {
      continue;
    }
    if (found->second.B_OR.size(0) != width || found->second.A_RI.size(1) != inputs) {
      fail_shapes(found->second, width, where);
    }
    const LowRankUpdate part = with_rank(with_scale(found->second, first.scale), rank);
    downs.back() = part.A_RI;
    ups.back().narrow(1, static_cast<int64_t>(i) * rank, rank).copy_(part.B_OR);
  }
  LowRankUpdate update;
  update.module = std::string(kTransformerPrefix) + module.name;
  update.A_RI = at::cat(downs);
  update.B_OR = at::cat(ups);
  update.scale = first.scale;
  update.alpha = first.scale * static_cast<double>(count * rank);
  return update;
}

/// The update with only some columns of B.
LowRankUpdate with_columns(LowRankUpdate update, const Tensor& columns) {
  update.A_RI = update.A_RI.index_select(0, columns);
  update.B_OR = update.B_OR.index_select(1, columns);
  update.alpha = update.scale * static_cast<double>(update.rank());
  return update;
}

/// A part of a fused module, of whose rows B is given, with the columns that are not zero. If all are, those that the layout gives it.
LowRankUpdate with_own_columns(LowRankUpdate part, size_t number, size_t count) {
  Tensor columns = part.B_OR.ne(0).any(0).nonzero().flatten();
  if (columns.numel() == 0) {
    const Tensor all = at::arange(part.rank(), at::kLong);
    const auto own = part.rank() / static_cast<int64_t>(count);
    columns = own * static_cast<int64_t>(count) == part.rank() ? all.narrow(0, static_cast<int64_t>(number) * own, own) : all;
  }
  return with_columns(std::move(part), columns);
}

/// The rows of B of each part.
std::vector<Tensor> rows_of_parts(const LowRankUpdate& update, const OriginalModule& module, const std::string& where) {
  const int64_t inputs = update.A_RI.size(1);
  std::vector<int64_t> widths;
  for (const std::string& part : module.parts) {
    widths.push_back(part_width(part, inputs));
  }
  const int64_t outputs = std::accumulate(widths.begin(), widths.end(), int64_t{0});
  if (outputs != update.B_OR.size(0)) {
    fail_shapes(update, outputs, where);
  }
  return update.B_OR.split_with_sizes(widths);
}

}  // namespace

std::vector<LowRankUpdate> with_original_modules(const std::vector<LowRankUpdate>& updates, const std::vector<OriginalModule>& modules,
                                                 const std::string& where) {
  std::map<std::string, std::pair<const OriginalModule*, size_t>> places;
  for (const OriginalModule& module : modules) {
    for (size_t i = 0; i < module.parts.size(); ++i) {
      places.emplace(module.parts[i], std::pair(&module, i));
    }
  }
  std::vector<LowRankUpdate> result;
  std::map<const OriginalModule*, std::map<size_t, LowRankUpdate>> divided;
  for (const LowRankUpdate& update : updates) {
    const bool is_of_transformer = update.module.starts_with(kTransformerPrefix);
    const auto found = places.find(is_of_transformer ? update.module.substr(kTransformerPrefix.size()) : "");
    if (found == places.end()) {
      result.push_back(update);
      continue;
    }
    const auto& [module, index] = found->second;
    if (module->parts.size() > 1) {
      divided[module].emplace(index, update);
    } else {
      result.push_back(with_halves_of_other_code(update, found->first));
      result.back().module = std::string(kTransformerPrefix) + module->name;
    }
  }
  for (const auto& [module, parts] : divided) {
    result.push_back(fused(*module, parts, where));
  }
  return result;
}

std::vector<LowRankUpdate> with_parts(const LowRankUpdate& update, const std::string& where) {
  const bool is_of_transformer = update.module.starts_with(kTransformerPrefix);
  const OriginalModule* const module =
      is_of_transformer ? original_module(update.module.substr(kTransformerPrefix.size())) : nullptr;
  if (module == nullptr) {
    return {update};
  }
  if (update.magnitude_O) {
    model_error(where, "module '" + update.module + "' has a DoRA magnitude, expected none: those of transformers are not supported");
  }
  if (module->parts.size() == 1) {
    LowRankUpdate whole = update;
    whole.module = std::string(kTransformerPrefix) + module->parts.front();
    return {with_halves_of_other_code(std::move(whole), module->parts.front())};
  }
  const std::vector<Tensor> rows = rows_of_parts(update, *module, where);
  const bool all_zero = !update.B_OR.ne(0).any().item<bool>();
  std::vector<LowRankUpdate> parts;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (all_zero || rows[i].ne(0).any().item<bool>()) {
      LowRankUpdate part = update;
      part.module = std::string(kTransformerPrefix) + module->parts[i];
      part.B_OR = rows[i];
      parts.push_back(with_own_columns(std::move(part), i, rows.size()));
    }
  }
  return parts;
}

}  // namespace lora::peft
