#include "config/optimizer_field.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace lora::config {

namespace {

using train::TrainOptions;

/// A name of transformers' OptimizerNames without an optimiser here, and the nearest one.
struct OtherOptimizer {
  std::string_view name;
  std::string_view instead;
  std::string_view why;
};

constexpr std::string_view kRmsprop = "which is RMSprop with corrected bias if adam_beta1 is 0";
constexpr std::string_view kLowRankGradients = "an adapter's gradients have a low rank already";
constexpr std::string_view kFewMoments = "it keeps little state, too";
constexpr std::string_view kSchedules = "with a schedule in lr_scheduler_type";

constexpr std::array<OtherOptimizer, 30> kOtherOptimizers{{
    {"adamw_torch_xla", "adamw_torch_fused", "there is no XLA device here"},
    {"adamw_torch_npu_fused", "adamw_torch_fused", "there is no NPU here"},
    {"adamw_anyprecision", "adamw_torch_fused", "whose moments have the parameters' dtype as well"},
    {"adamw_torch_4bit", "adamw_8bit", "8 bits are the smallest state of AdamW here"},
    {"adamw_torch_8bit", "adamw_8bit", "bitsandbytes' 8-bit AdamW"},
    {"ademamix", "adamw_torch_fused", "which has one running mean of gradients instead of two"},
    {"ademamix_8bit", "adamw_8bit", "which has one running mean of gradients instead of two"},
    {"paged_ademamix_32bit", "paged_adamw_32bit", "which has one running mean of gradients instead of two"},
    {"paged_ademamix_8bit", "paged_adamw_8bit", "which has one running mean of gradients instead of two"},
    {"adagrad", "adamw_torch_fused", "whose rates adapt to gradients as well"},
    {"rmsprop", "adamw_torch_fused", kRmsprop},
    {"rmsprop_bnb", "adamw_torch_fused", kRmsprop},
    {"rmsprop_bnb_8bit", "adamw_8bit", kRmsprop},
    {"rmsprop_bnb_32bit", "adamw_torch_fused", kRmsprop},
    {"galore_adamw", "adamw_torch_fused", kLowRankGradients},
    {"galore_adamw_8bit", "adamw_8bit", kLowRankGradients},
    {"galore_adafactor", "adafactor", kLowRankGradients},
    {"galore_adamw_layerwise", "adamw_torch_fused", kLowRankGradients},
    {"galore_adamw_8bit_layerwise", "adamw_8bit", kLowRankGradients},
    {"galore_adafactor_layerwise", "adafactor", kLowRankGradients},
    {"lomo", "adafactor", kFewMoments},
    {"adalomo", "adafactor", kFewMoments},
    {"grokadamw", "adamw_torch_fused", "which is AdamW without GrokFast's amplified gradients"},
    {"schedule_free_radam", "adamw_torch_fused", kSchedules},
    {"schedule_free_adamw", "adamw_torch_fused", kSchedules},
    {"schedule_free_sgd", "sgd", kSchedules},
    {"apollo_adamw", "adafactor", kFewMoments},
    {"apollo_adamw_layerwise", "adafactor", kFewMoments},
    {"stable_adamw", "adamw_torch_fused", "with max_grad_norm, which limits updates in another way"},
    {"adamw_hf", "adamw_torch_fused", "which replaced it in transformers as well"},
}};

/// Reports a name of transformers that this version does not have.
bool report_other_optimizer(const Json& value, const ConfigPlace& at) {
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  const auto other =
      std::find_if(kOtherOptimizers.begin(), kOtherOptimizers.end(), [&name](const OtherOptimizer& entry) { return entry.name == name; });
  if (other == kOtherOptimizers.end()) {
    return false;
  }
  at.add("found " + shown(value) + ", which this version does not support, expected \"" + std::string(other->instead) +
         "\" instead: " + std::string(other->why));
  return true;
}

}  // namespace

Field<TrainOptions> optimizer_field() {
  const Rule rule = name_of(optim::kOptimizers.names());
  Field<TrainOptions> field{
      "optim",
      "Optimiser; adamw_torch means adamw_torch_fused. Those of bitsandbytes keep their moments in float32 (32bit) or in "
      "8 bits; paged ones let them move to host memory on a GPU. lion has its moment in the dtype of the parameters. lora_fa trains only B "
      "of LoRA's pairs, with AdamW.",
      rule.schema, optim::kOptimizers.name(TrainOptions{}.optimizer.kind), nullptr};
  field.read = [rule](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (!report_other_optimizer(value, at) && accept(rule, value, at)) {
      options.optimizer.kind = *optim::kOptimizers.find(value.get<std::string>());
    }
  };
  field.show = [](const TrainOptions& options) { return Json(optim::kOptimizers.name(options.optimizer.kind)); };
  return field;
}

}  // namespace lora::config
