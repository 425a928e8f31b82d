#include "app/merge_quantization.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "app/flag_value.h"
#include "lora/base/enum_table.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/models/base_model.h"
#include "lora/peft/base_reference.h"
#include "lora/quantization/bitsandbytes_writer.h"

namespace lora::app {

namespace {

using Adapters = std::vector<peft::WeightedAdapter>;

const peft::BaseQuantization& seen_by(const peft::WeightedAdapter& adapter) {
  return adapter.adapter.base_quantization;
}

/// The options with which the base of all adapters was quantised while it was loaded. @param flag that needs them.
config::StoredQuantization common_settings(const Adapters& adapters, const std::string& flag) {
  for (const peft::WeightedAdapter& adapter : adapters) {
    const auto& [text, settings, is_corrected] = seen_by(adapter);
    if (settings.empty()) {
      model_error(adapter.name, (text.empty() ? std::string("does not say that its base was quantised")
                                              : "was trained on a base that is packed in its files (" + text + ")") +
                                    ", so that " + flag + " cannot quantise it in the same way. Give a packed base as --model, " +
                                    (text.empty() ? "which lora-convert --quantize can write." : "the one that it was trained on."));
    }
    if (settings != seen_by(adapters.front()).settings) {
      model_error(adapter.name, "was trained on a base that was quantised differently from the base of " + adapters.front().name +
                                    ": found " + printable(settings, 300) + ", expected " +
                                    printable(seen_by(adapters.front()).settings, 300) + ". Merge into the plain base (--base-as float).");
    }
  }
  return config::read_quantization_settings(seen_by(adapters.front()).settings, adapters.front().name);
}

models::QuantizationPlan plan_of(const config::StoredQuantization& seen, models::ModelOptions model) {
  model.quantization = seen.quantization;
  model.dtype = seen.dtype;
  return models::quantization_plan(model);
}

/// An adapter that LoftQ initialised contains the correction of one base, once.
void require_whole_correction(const Adapters& adapters) {
  const auto is_corrected = [](const peft::WeightedAdapter& adapter) { return seen_by(adapter).is_corrected; };
  const auto first = std::find_if(adapters.begin(), adapters.end(), is_corrected);
  if (first == adapters.end()) {
    return;
  }
  if (const auto second = std::find_if(first + 1, adapters.end(), is_corrected); second != adapters.end()) {
    model_error(second->name, "cannot be merged together with " + first->name +
                                  ": both were initialised by LoftQ and correct what quantising the base has lost, so that it would be "
                                  "corrected twice");
  }
  if (first->weight != 1) {
    model_error(first->name, "cannot be merged with a --weight other than 1, because it was initialised by LoftQ: it also corrects what "
                             "quantising the base has lost, and must do so in full");
  }
}

void describe_float_merge(const peft::WeightedAdapter& adapter, bool is_asked_for) {
  const auto& [text, settings, is_corrected] = seen_by(adapter);
  if (text.empty()) {
    return;
  }
  if (is_corrected) {
    const std::string fault = "was initialised by LoftQ, and also corrects what quantising its base (" + text +
                              ") has lost. The plain base has lost nothing";
    if (!is_asked_for) {
      model_error(adapter.name, fault +
                                    ", so that the result would be wrong by the correction. Merge with --base-as quantized, or accept "
                                    "this error with --base-as float.");
    }
    log::warn("[" + adapter.name + "] " + fault + ". The result is wrong by the correction.");
    return;
  }
  log::info("[" + adapter.name + "] was trained on " + (settings.empty() ? "a packed base (" : "this base quantised (") + text +
            "), and is merged into the plain weights" +
            (settings.empty() ? "" : ". --base-as quantized would merge it into the dequantised ones that it was trained on."));
}

/// Merging into the weights of the base, or into those that they give when they are quantised for the adapters.
void settle_weights(MergeQuantization& result, const std::string& base_as, const models::ModelOptions& model, MergeBase& base,
                       const Adapters& adapters) {
  if (base_as != kBaseQuantized) {
    for (const peft::WeightedAdapter& adapter : adapters) {
      describe_float_merge(adapter, !base_as.empty());
    }
    const std::string& first = seen_by(adapters.front()).settings;
    const auto is_same = [&first](const peft::WeightedAdapter& adapter) { return seen_by(adapter).settings == first; };
    if (!first.empty() && std::all_of(adapters.begin(), adapters.end(), is_same)) {
      result.trained_on = config::read_quantization_settings(first, adapters.front().name);
    }
    return;
  }
  result.seen = common_settings(adapters, "--base-as quantized");
  base.use_quantised_values(plan_of(*result.seen, model));
  for (const peft::WeightedAdapter& adapter : adapters) {
    log::info("[" + adapter.name + "] was trained on this base quantised (" + seen_by(adapter).text +
              "), and is merged into the weights that this gives when they are dequantised in " +
              std::string(models::kComputeDtypes.name(result.seen->dtype)));
  }
}

/// Merging into the numbers that the base's files decode to.
void settle_packed_base(const MergeRequest& request, const models::ModelOptions& model, const MergeBase& base,
                        const std::vector<std::string>& formats) {
  const std::string found = "the weights are packed (" + join(formats) + ")";
  if (request.unmerge) {
    model_error(model.name, found + ", so that the adapters cannot be subtracted: packing has rounded the merged weights, and the base's "
                                    "are lost. Unmerge from a merged model of plain numbers.");
  }
  if (request.base_as == kBaseFloat) {
    config_error("--base-as", "found 'float', but " + found + " in " + model.name +
                                  ", whose plain numbers are not known. Give the model that it was made from as --model, or leave out "
                                  "--base-as to merge into the dequantised weights.");
  }
  const std::string dtype = io::dtype_name(models::scalar_type(model.dtype).value_or(base.computing_dtype()));
  log::info("[" + model.name + "] " + found + ": the adapters are merged into the dequantised weights, and the result " +
            (request.requantize ? "is packed again" : "has plain numbers in " + dtype));
}

}  // namespace

void require_seen_base(const peft::WeightedAdapter& adapter, const peft::BaseReference& base) {
  const peft::BaseQuantization& seen = seen_by(adapter);
  const std::string& fingerprint = adapter.adapter.base_fingerprint;
  const bool is_other = !fingerprint.empty() && !base.fingerprint.empty() && fingerprint != base.fingerprint;
  if (is_other && !base.allow_other && !seen.text.empty() && seen.settings.empty()) {
    model_error(adapter.name, "was trained on a base that is packed in its files (" + seen.text + "): found the fingerprint " +
                                  fingerprint.substr(0, 12) + "…, expected " + base.fingerprint.substr(0, 12) + "… of '" + base.name +
                                  "'. Give that base as --model to merge into its dequantised weights, or merge into this one with "
                                  "--allow-other-base.");
  }
  peft::require_same_base(adapter.name, fingerprint, base);
}

MergeQuantization settle_quantization(const MergeRequest& request, const models::ModelOptions& model, MergeBase& base,
                                      const Adapters& adapters) {
  MergeQuantization result;
  const std::vector<std::string> formats = base.packed_formats();
  if (!formats.empty()) {
    settle_packed_base(request, model, base, formats);
  }
  if (request.unmerge) {
    return result;
  }
  require_whole_correction(adapters);
  // A packed base may have been quantised in yet another way while it was loaded.
  if (formats.empty() || (request.base_as == kBaseQuantized && !seen_by(adapters.front()).settings.empty())) {
    settle_weights(result, request.base_as, model, base, adapters);
  }
  if (!request.requantize) {
    return result;
  }
  result.packing = formats.empty()
                       ? packing_as_loaded(base, plan_of(result.seen ? *result.seen : common_settings(adapters, "--requantize"), model))
                       : packing_of_files(base);
  for (auto& [name, packing] : result.packing) {
    packing.dtype = models::scalar_type(model.dtype).value_or(packing.dtype);
  }
  return result;
}

Json result_quantization(const MergeBase& base, const MergeQuantization& quantization, const PackedResult& result) {
  if (quantization.packing.empty()) {
    return nullptr;
  }
  const MatrixPacking& first = quantization.packing.begin()->second;
  Json written = quantization::bitsandbytes_config(first.options, base.computing_dtype(), result.plain_modules);
  if (!base.packed_formats().empty() && base.quantization_config().is_object()) {
    // The base's own choices, such as its compute dtype, except for how the files are written.
    Json own = base.quantization_config();
    for (const char* key : {"bnb_4bit_quant_storage", "llm_int8_skip_modules"}) {
      own[key] = written[key];
    }
    written = std::move(own);
  }
  return written;
}

}  // namespace lora::app
