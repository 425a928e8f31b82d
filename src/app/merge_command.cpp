#include "lora/app/merge_command.h"

#include <cmath>

#include "app/adapter_templates.h"
#include "app/backend.h"
#include "app/flag_value.h"
#include "app/merge_pipeline.h"
#include "app/model_path.h"
#include "app/new_folder.h"
#include "app/open_adapter.h"
#include "app/pipeline_weights.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/data/options.h"
#include "lora/peft/base_reference.h"

namespace lora::app {

namespace {

void require_consistent_quantization_flags(const MergeRequest& request) {
  if (!request.base_as.empty() && request.base_as != kBaseFloat && request.base_as != kBaseQuantized) {
    config_error("--base-as", "found '" + request.base_as + "', expected one of float, quantized" +
                                  did_you_mean(request.base_as, {kBaseFloat, kBaseQuantized}));
  }
  const char* const flag = request.requantize ? "--requantize" : "--base-as";
  if (!request.requantize && request.base_as.empty()) {
    return;
  }
  if (!request.combine.empty()) {
    config_error(flag, "cannot be used with --combine, which needs no base");
  }
  if (request.unmerge) {
    config_error(flag,
                 request.requantize
                     ? "cannot be used with --unmerge: packing rounds the weights, so that the result would not be the base"
                     : "cannot be used with --unmerge, which gives the base back that the adapters were merged into, whichever it was");
  }
  if (request.requantize && request.verify && !request.tolerance) {
    config_error("--verify",
                 "needs --tolerance with --requantize, because packing changes logits by far more than rounding does. The error "
                 "of the weights is printed in any case.");
  }
}

void require_consistent_merge_flags(const MergeRequest& request) {
  if (request.model.empty() == request.combine.empty()) {
    config_error(request.model.empty() ? "--model" : "--combine",
                 request.model.empty() ? "is missing: expected the base to merge into, or --combine to make one adapter from several"
                                       : "cannot be used with --model. Combine first, then merge the result.");
  }
  if (request.adapters.empty()) {
    config_error("--adapter", "is missing: found none, expected at least one");
  }
  if (!request.weights.empty() && request.weights.size() != request.adapters.size()) {
    config_error("--weight", "found " + std::to_string(request.weights.size()) + ", expected one for each of the " +
                                 std::to_string(request.adapters.size()) + " --adapter, in the same order, or none");
  }
  for (const double weight : request.weights) {
    if (!std::isfinite(weight)) {
      config_error("--weight", "found " + std::to_string(weight) + ", expected a finite number");
    }
  }
  if (request.max_shard_size < 1) {
    config_error("--max-shard-size", "found " + std::to_string(request.max_shard_size) + ", expected a size, for example 5GB");
  }
  if ((request.tolerance || !request.data.empty()) && !request.verify) {
    config_error(request.tolerance ? "--tolerance" : "--data", "needs --verify");
  }
  require_consistent_quantization_flags(request);
  flag_value(data::kRowFormats, request.format, "--format");  // checked now, not after the merge
  flag_value(data::kTextDocuments, request.documents, "--documents");
}

std::vector<peft::WeightedAdapter> read_adapters(const MergeRequest& request) {
  std::vector<peft::WeightedAdapter> adapters;
  for (size_t i = 0; i < request.adapters.size(); ++i) {
    const fs::path folder = request.adapters[i];
    const double weight = request.weights.empty() ? 1.0 : request.weights[i];
    adapters.push_back({open_any_adapter(folder), weight, folder.string()});
  }
  return adapters;
}

/// The base that the adapters name. Warns if they name several.
std::string base_name_of(const std::vector<peft::WeightedAdapter>& adapters) {
  std::string name;
  for (const peft::WeightedAdapter& adapter : adapters) {
    const Json& own = adapter.adapter.config.value("base_model_name_or_path", Json());
    const std::string own_name = own.is_string() ? own.get<std::string>() : "";
    if (!name.empty() && !own_name.empty() && own_name != name) {
      log::warn("[" + adapter.name + "] was trained on another base by its base_model_name_or_path: found '" + printable(own_name, 120) +
                "', the others on '" + printable(name, 120) + "'");
    }
    name = name.empty() ? own_name : name;
  }
  return name;
}

/// The fingerprint of the adapters' common base. Throws model Error for adapters of different bases.
std::string base_fingerprint_of(const std::vector<peft::WeightedAdapter>& adapters, bool allow_other_base) {
  peft::BaseReference base("the other adapters' base", "", allow_other_base);
  for (const peft::WeightedAdapter& adapter : adapters) {
    peft::require_same_base(adapter.name, adapter.adapter.base_fingerprint, base);
    base.fingerprint = base.fingerprint.empty() ? adapter.adapter.base_fingerprint : base.fingerprint;
  }
  return base.fingerprint;
}

/// The labels of the adapters' classifiers. Throws model Error if two adapters have different ones.
std::string label_description(const std::vector<peft::WeightedAdapter>& adapters) {
  std::string labels;
  for (const peft::WeightedAdapter& adapter : adapters) {
    if (!labels.empty() && !adapter.adapter.labels.empty() && labels != adapter.adapter.labels) {
      model_error(adapter.name, "the classifier has other labels than the previous adapters: found " +
                                    printable(adapter.adapter.labels, 200) + ", expected " + printable(labels, 200));
    }
    labels = labels.empty() ? adapter.adapter.labels : labels;
  }
  return labels;
}

/// How the adapters' common base was quantised; nothing if they differ, with a warning. Throws model Error for adapters whose combination
/// would correct the error of a quantised base by another amount than it is.
peft::BaseQuantization base_quantization_of(const std::vector<peft::WeightedAdapter>& adapters) {
  const peft::BaseQuantization& first = adapters.front().adapter.base_quantization;
  const auto shown_base = [](const peft::BaseQuantization& base) {
    return base.text.empty() ? std::string("a base that is not known to be quantised") : base.settings.empty() ? base.text : base.settings;
  };
  bool is_common = true;
  for (const peft::WeightedAdapter& adapter : adapters) {
    const peft::BaseQuantization& own = adapter.adapter.base_quantization;
    if (own.is_corrected && adapters.size() > 1) {
      model_error(adapter.name, "cannot be combined with others, because it was initialised by LoftQ: it also corrects what quantising its "
                                "base has lost, which the combination would contain in part or several times");
    }
    if (own != first) {
      is_common = false;
      log::warn("[" + adapter.name + "] was trained on " + shown_base(own) + ", and " + adapters.front().name + " on " + shown_base(first) +
                ": their combination fits neither exactly");
    }
  }
  return is_common ? first : peft::BaseQuantization{};
}

void combine_adapters(const MergeRequest& request) {
  peft::CombineOptions options = request.combination;
  options.method = request.combine;
  if (!request.majority_sign_method.empty()) {
    options.majority_sign_method = flag_value(peft::kMajoritySigns, request.majority_sign_method, "--majority-sign-method");
  }
  require_new_folder(request.output, {request.adapters.begin(), request.adapters.end()}, request.overwrite);
  const std::vector<peft::WeightedAdapter> adapters = read_adapters(request);
  peft::Adapter combined = peft::combine(adapters, options);
  combined.base_fingerprint = base_fingerprint_of(adapters, request.allow_other_base);
  combined.base_quantization = base_quantization_of(adapters);
  combined.labels = label_description(adapters);
  const std::string base_name = base_name_of(adapters);
  size_t num_modules = 0;
  write_new_folder(request.output, [&](const fs::path& folder) {
    num_modules = peft::write_combined(folder, combined, base_name);
    write_shared_template({request.adapters.begin(), request.adapters.end()}, folder);
  });
  log::info("wrote " + request.output.string() + ": " + counted(static_cast<int64_t>(num_modules), "module") + " of " +
            counted(static_cast<int64_t>(adapters.size()), "adapter"));
}

}  // namespace

int merge_command(const MergeRequest& request) {
  require_consistent_merge_flags(request);
  if (request.combine.empty()) {
    const models::ModelOptions model = config::read_model_flags(
        {.model = request.model, .dtype = request.dtype, .device = request.device, .trust_torchscript = request.trust_torchscript},
        request.surroundings);
    if (is_pipeline(model.path)) {
      merge_pipeline(request, model, read_adapters(request));
      return 0;
    }
    require_model(model, "--model");
    backend_of(model).merge(request, model, read_adapters(request));
  } else {
    combine_adapters(request);
  }
  return 0;
}

}  // namespace lora::app
