#include "config/exclusions.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/text.h"
#include "lora/peft/method.h"
#include "lora/train/objectives.h"

namespace lora::config {

namespace {

using models::Quantization;
using models::QuantizationKind;

/// The values of a key that a choice leaves: those listed, or all but those listed.
struct Allowed {
  std::vector<Json> listed;
  bool are_listed_allowed;

  bool holds(const Json& value) const { return (std::find(listed.begin(), listed.end(), value) != listed.end()) == are_listed_allowed; }
};

Allowed only(std::vector<Json> values) {
  return {std::move(values), true};
}

Allowed all_but(std::vector<Json> values) {
  return {std::move(values), false};
}

/// A key that a choice restricts.
struct Exclusion {
  std::string key;  ///< "data.packing"; "*" stands for every item of a list
  Allowed allowed;
  std::string expected;  ///< describes `allowed`
  std::string why = "";
};

/// A choice that excludes values of other keys.
struct Choice {
  std::string key;  ///< the key that states it
  bool (*is_made)(const RunConfig& run);
  std::optional<std::string> name;  ///< in messages: "found … with <name>"; none: the key and its value; "": not named
  std::vector<Exclusion> excludes;
};

const train::ObjectiveEntry& objective_of(const RunConfig& run) {
  return train::objective_entry(run.training.objective);
}

/// Whether the model gets a classifier in the sense of PEFT.
bool has_classifier(const RunConfig& run) {
  return objective_of(run).labels_documents && !run.model.is_torchscript();
}

bool has_quantization(const RunConfig& run, QuantizationKind type) {
  return run.model.quantization && run.model.quantization->type == type;
}

/// Whether LoftQ gives the adapter its first values. One that continues another adapter has its values already.
bool starts_by_loftq(const RunConfig& run) {
  const auto* const lora = run.adapter.as<peft::LoraOptions>();
  return lora != nullptr && lora->init == peft::LoraInit::kLoftq && !lora->init_from;
}

/// Choices of what is trained.
std::vector<Choice> objective_choices() {
  const Allowed no_eva = all_but({"eva"}), no_corda = all_but({"corda"});
  return {
      {"training.objective",
       [](const RunConfig& run) { return objective_of(run).labels_documents; },
       std::nullopt,
       {{"data.packing", only({false}), "false", "each row has one label, and a batch is per_device_train_batch_size rows"},
        {"data.train_on", only({"completion"}), "\"completion\" (the default)", "the label of each row is predicted, not its tokens"},
        {"data.overlength", all_but({"split"}), "truncate, drop or error", "the label belongs to the whole row"},
        {"adapter.init_lora_weights", no_eva, "another initialisation", "EVA analyses the tokens to predict"},
        {"adapter.init_lora_weights", no_corda, "another initialisation", "CorDA analyses documents of tokens to predict"}}},
      {"training.objective",
       [](const RunConfig& run) { return run.training.objective == train::ObjectiveKind::kModuleLoss; },
       std::nullopt,
       {{"data.packing", only({false}), "false", "a batch is per_device_train_batch_size rows"},
        {"adapter.init_lora_weights", no_eva, "another initialisation", "EVA analyses the tokens to predict"},
        {"adapter.init_lora_weights", no_corda, "another initialisation", "CorDA analyses documents of tokens to predict"}}},
      {"training.objective",
       [](const RunConfig& run) { return !objective_of(run).records_passes; },
       std::nullopt,
       {{"training.cuda_graphs", only({false}), "false", "only passes of \"causal_lm\" are recorded"}}},
      {"training.objective", has_classifier, std::nullopt, {{"adapter.task_type", only({"SEQ_CLS", nullptr}), "\"SEQ_CLS\" or none"}}},
      {"training.objective",
       [](const RunConfig& run) { return !has_classifier(run); },
       std::nullopt,
       {{"adapter.task_type", all_but({"SEQ_CLS"}), "\"CAUSAL_LM\" or none"}}},
  };
}

bool removes_noise(const RunConfig& run) {
  return objective_of(run).removes_noise;
}

/// What an objective on images excludes.
std::vector<Choice> image_choices() {
  const char* const no_tokens = "images have no tokens";
  const char* const own_encoders = "captions are encoded as the pipeline does";
  return {
      {"training.objective",
       removes_noise,
       std::nullopt,
       {{"data.packing", only({false}), "false", no_tokens},
        {"data.max_length", only({data::DataOptions{}.max_length}), "no such key", no_tokens},
        {"data.overlength", only({"truncate"}), "no such key", no_tokens},
        {"data.tokens_per_batch", only({nullptr, 0}), "null", no_tokens},
        {"data.train_on", only({"completion"}), "no such key", no_tokens},
        {"data.chat_template", only({nullptr}), "null", "captions are not conversations"},
        {"data.append_eos", only({true}), "no such key", own_encoders},
        {"data.parse_special_tokens", only({true}), "no such key", own_encoders},
        {"adapter.init_lora_weights", all_but({"eva"}), "another initialisation", "EVA analyses the tokens to predict"},
        {"adapter.init_lora_weights", all_but({"corda", "lora_ga"}), "another initialisation", "such a start is for language models"},
        {"adapter.task_type", only({nullptr}), "none", "PEFT has no task for such networks"},
        {"model.base_dropout", only({nullptr}), "null", "the network of a pipeline has no dropout"}}},
      {"model.path",
       [](const RunConfig& run) { return run.model.is_torchscript(); },
       "a TorchScript model",
       {{"training.objective", all_but({"denoising"}), "another objective, or a text-to-image pipeline"}}},
  };
}

/// What only an objective on images has.
std::vector<Choice> other_choices() {
  const char* const of_images = "this key is for the objective \"denoising\"";
  const char* const of_pipelines = "this key is for text-to-image pipelines, which the objective \"denoising\" trains";
  const train::DenoisingOptions none;
  return {
      {"training.objective",
       [](const RunConfig& run) { return !removes_noise(run); },
       std::nullopt,
       {{"training.snr_gamma", only({nullptr}), "no such key", of_images},
        {"training.noise_offset", only({none.noise_offset}), "no such key", of_images},
        {"training.input_perturbation", only({none.input_perturbation}), "no such key", of_images},
        {"training.rescale_betas_zero_snr", only({nullptr}), "no such key", of_images},
        {"training.prior_loss_weight", only({none.prior_loss_weight}), "no such key", of_images},
        {"training.weighting_scheme", only({std::string(train::kWeightingSchemes.name(none.weighting_scheme))}), "no such key", of_images},
        {"training.logit_mean", only({none.logit_mean}), "no such key", of_images},
        {"training.logit_std", only({none.logit_std}), "no such key", of_images},
        {"training.mode_scale", only({none.mode_scale}), "no such key", of_images},
        {"training.precondition_outputs", only({none.precondition_outputs}), "no such key", of_images},
        {"training.min_timestep", only({none.min_timestep}), "no such key", of_images},
        {"training.max_timestep", only({nullptr}), "no such key", of_images},
        {"training.eval_timesteps", only({none.eval_timesteps}), "no such key", of_images},
        {"training.sample", only({nullptr}), "no such key", of_images},
        {"model.prediction_type", only({nullptr}), "no such key", of_pipelines},
        {"model.variant", only({nullptr}), "no such key", of_pipelines},
        {"model.vae", only({nullptr}), "no such key", of_pipelines},
        {"model.clip_skip", only({1}), "no such key", of_pipelines}}},
  };
}

/// Choices of how the base's weights are stored.
std::vector<Choice> quantization_choices() {
  const char* const of_blocks = "this format has a scale for each row, not for each block";
  const char* const decodes = "nothing is quantised";
  return {
      {"model.quantization",
       [](const RunConfig& run) { return run.model.quantises(); },
       "model.quantization",
       {{"adapter", all_but({nullptr}), "an object", "quantised weights cannot be trained themselves, only an adapter on them"}}},
      {"model.quantization.type",
       [](const RunConfig& run) { return has_quantization(run, QuantizationKind::kInt8); },
       std::nullopt,
       {{"model.quantization.double_quant", only({false}), "false", of_blocks},
        {"model.quantization.block_size", only({Quantization{}.block_size}), "no such key", of_blocks}}},
      {"model.quantization.type",
       [](const RunConfig& run) { return has_quantization(run, QuantizationKind::kNone); },
       std::nullopt,
       {{"model.quantization.double_quant", only({false}), "false", decodes},
        {"model.quantization.block_size", only({Quantization{}.block_size}), "no such key", decodes},
        {"model.quantization.skip_modules", only({nullptr}), "null", decodes}}},
      {"adapter.init_lora_weights",
       starts_by_loftq,
       std::nullopt,
       {{"model.quantization", all_but({nullptr}), "an object, such as {\"type\": \"nf4\"}",
         "LoftQ starts from the error that quantising a plain base makes"},
        {"model.quantization.type", all_but({"none"}), "nf4, fp4 or int8"}}},
      {"model.quantization.type",
       [](const RunConfig& run) { return starts_by_loftq(run) && has_quantization(run, QuantizationKind::kInt8); },
       std::nullopt,
       {{"adapter.loftq_config.loftq_bits", only({8, nullptr}), "8"}}},
      {"model.quantization.type",
       [](const RunConfig& run) {
         return starts_by_loftq(run) && (has_quantization(run, QuantizationKind::kNf4) || has_quantization(run, QuantizationKind::kFp4));
       },
       std::nullopt,
       {{"adapter.loftq_config.loftq_bits", only({4, nullptr}), "4"}}},
  };
}

/// Choices of how it is trained.
std::vector<Choice> method_choices() {
  return {
      {"adapter",
       [](const RunConfig& run) { return bool(run.adapter); },
       "an adapter",
       {{"model.from_scratch", only({false}), "\"adapter\": null", "the random base model would not be saved"},
        {"training.train_parameters", only({nullptr}), "null", "the adapter decides what is trained"}}},
      {"adapter.init_lora_weights",
       [](const RunConfig& run) { return peft::starts_from_data(run.adapter); },
       std::nullopt,
       {{"training.per_device_train_batch_size", all_but({"auto"}), "a number", "the initialisation depends on the batches"}}},
      {"training.gradient_checkpointing",
       [](const RunConfig& run) { return run.training.gradient_checkpointing == train::GradientCheckpointing::kOffload; },
       std::nullopt,
       {{"training.cuda_graphs", only({false}), "one of the two", "a recorded pass cannot move activations to host memory"}}},
      {"adapter.peft_type",
       [](const RunConfig& run) { return bool(run.adapter) && run.adapter.as<peft::LoraOptions>() == nullptr; },
       std::nullopt,
       {{"training.loraplus_lr_ratio", only({nullptr}), "no such key", "LoRA+ has a learning rate for LoRA's B"}}},
      {"adapter.peft_type",
       [](const RunConfig& run) {
         return run.adapter.as<peft::PromptTuningOptions>() != nullptr || run.adapter.as<peft::PTuningOptions>() != nullptr;
       },
       std::nullopt,
       {{"training.cuda_graphs", only({false}), "false", "a recorded pass has no room for the labels of first tokens"}}},
      {"adapter.use_dora",
       [](const RunConfig& run) {
         const auto* const lora = run.adapter.as<peft::LoraOptions>();
         return lora != nullptr && lora->use_dora;
       },
       "adapter.use_dora",
       {{"training.cuda_graphs", only({false}), "false", "DoRA branches on values, which a recorded pass cannot do"}}},
  };
}

/// Choices of an optimiser that is made for one method.
std::vector<Choice> optimizer_choices() {
  return {
      {"adapter",
       [](const RunConfig& run) { return !run.adapter; },
       "\"adapter\": null",
       {{"training.optim", all_but({"lora_fa"}), "another optimiser", "LoRA-FA trains LoRA's B"}}},
      {"adapter.peft_type",
       [](const RunConfig& run) { return bool(run.adapter) && run.adapter.as<peft::LoraOptions>() == nullptr; },
       std::nullopt,
       {{"training.optim", all_but({"lora_fa"}), "another optimiser", "LoRA-FA trains LoRA's B"}}},
      {"training.optim",
       [](const RunConfig& run) { return run.training.optimizer.kind == optim::OptimizerKind::kLoraFa; },
       std::nullopt,
       {{"adapter.use_dora", only({false}), "false", "LoRA-FA's gradient of B is not that of DoRA"},
        {"training.loraplus_lr_ratio", only({nullptr}), "no such key", "LoRA-FA trains no A"}}},
  };
}

/// Choices of the kind of base model.
std::vector<Choice> backend_choices() {
  std::vector<Json> of_modules;
  for (const auto& entry : train::kObjectiveKinds.entries) {
    if (train::objective_entry(entry.value).needs_module) {
      of_modules.emplace_back(entry.name);
    }
  }
  return {
      {"model.path",
       [](const RunConfig& run) { return !run.model.is_torchscript(); },
       "a model that is not a TorchScript file",
       {{"training.objective", all_but(std::move(of_modules)),
         "causal_lm, denoising (of a text-to-image pipeline), or sequence_classification, which also predicts values if labels are written "
         "with a decimal point"},
        {"data.train.*.format", all_but({"features"}), "rows of tokens, texts or images"},
        {"data.eval.*.format", all_but({"features"}), "rows of tokens, texts or images"}}},
      {"model.path",
       [](const RunConfig& run) { return run.model.is_torchscript(); },
       "",
       {{"adapter", all_but({nullptr}), "an object", "a TorchScript model can only be trained with an adapter"},
        {"model.quantization", only({nullptr}), "null", "a TorchScript model keeps its own weights"},
        {"training.gradient_checkpointing", only({"off", "auto"}), "\"off\" or \"auto\"",
         "the layers of a TorchScript model are not known"}}},
      {"model.path",
       [](const RunConfig& run) { return run.model.is_torchscript() && objective_of(run).records_passes; },
       "a TorchScript model",
       {{"training.cuda_graphs", only({false}), "false", "such a model reads the lengths of documents on the host"}}},
  };
}

const std::vector<Choice>& choices() {
  static const std::vector<Choice> kChoices = [] {
    std::vector<Choice> all;
    for (const std::vector<Choice>& some :
         {objective_choices(), image_choices(), other_choices(), quantization_choices(), method_choices(), optimizer_choices(),
          backend_choices()}) {
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }();
  return kChoices;
}

/// One run of the config, and where the file states it.
struct PlacedRun {
  const RunConfig& run;
  const ConfigPlace& root;
  std::string adapter_path;  ///< "adapter", or an element of the list of adapters

  ConfigPlace at(const std::string& key) const {
    static const std::string kSection = "adapter";
    const bool is_adapter = key == kSection || key.starts_with(kSection + ".");
    return {is_adapter ? adapter_path + key.substr(kSection.size()) : key, root.findings};
  }
};

using TakeValue = std::function<void(const Json& value, const ConfigPlace& at)>;

/// Calls `take` with each value that `path` leads to.
void for_each_value(const Json& section, const ConfigPlace& at, std::span<const std::string> path, const TakeValue& take) {
  if (path.empty()) {
    take(section, at);
  } else if (path.front() == "*") {
    for (size_t i = 0; i < section.size(); ++i) {
      for_each_value(section[i], at.item(i), path.subspan(1), take);
    }
  } else if (section.is_object() && section.contains(path.front())) {
    for_each_value(section[path.front()], at.key(path.front()), path.subspan(1), take);
  }
}

/// The same with each value of a key such as "data.train.*.format".
void for_each_value(const PlacedRun& placed, const std::string& key, const TakeValue& take) {
  const std::vector<std::string> path = split(key, '.');
  if (const auto section = placed.run.resolved.find(path.front()); section != placed.run.resolved.end()) {
    for_each_value(*section, placed.at(path.front()), std::span(path).subspan(1), take);
  }
}

/// "training.objective \"regression\"": a key of one value with this value.
std::string key_and_value(const std::string& key, const PlacedRun& placed) {
  std::string text = key;
  for_each_value(placed, key, [&text](const Json& value, const ConfigPlace&) { text += " " + shown(value); });
  return text;
}

std::string sentence(const Json& value, const std::string& choice, const Exclusion& exclusion) {
  return "found " + shown(value) + (choice.empty() ? "" : " with " + choice) + ", expected " + exclusion.expected +
         (exclusion.why.empty() ? "" : ": " + exclusion.why);
}

using Excluded = std::vector<std::pair<ConfigPlace, std::string>>;

void find_excluded(const PlacedRun& placed, Excluded& found) {
  for (const Choice& choice : choices()) {
    if (!choice.is_made(placed.run) || !placed.at(choice.key).sound()) {
      continue;
    }
    const std::string name = choice.name.value_or(key_and_value(choice.key, placed));
    for (const Exclusion& exclusion : choice.excludes) {
      for_each_value(placed, exclusion.key, [&](const Json& value, const ConfigPlace& at) {
        if (!exclusion.allowed.holds(value) && at.sound()) {
          found.emplace_back(at, sentence(value, name, exclusion));
        }
      });
    }
  }
}

}  // namespace

void check_exclusions(const RunList& list, const ConfigPlace& root) {
  // Added only at the end: a value may be excluded by several choices and adapters, but one that is wrong by itself is reported once.
  Excluded found;
  for (size_t i = 0; i < list.runs.size(); ++i) {
    const ConfigPlace adapter_at = root.key("adapter");
    const bool is_item = !list.runs[i].name.empty() && list.sweep.empty();
    find_excluded({list.runs[i], root, is_item ? adapter_at.item(i).path : adapter_at.path}, found);
  }
  for (const auto& [at, message] : found) {
    at.add(message);
  }
}

}  // namespace lora::config
