#include "app/backend.h"

#include <algorithm>
#include <array>

#include "app/classifier.h"
#include "app/merge_script.h"
#include "app/pipeline_base.h"
#include "app/script_rows.h"
#include "lora/base/error.h"
#include "lora/peft/task.h"
#include "lora/torchscript/load.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

using Labels = std::optional<data::LabelSet>;
using train::ObjectiveKind;

models::BaseModel open_family(const BaseRequest& request) {
  return models::load_base_model(request.model, request.seed);
}

models::BaseModel open_classifier(const BaseRequest& request) {
  return models::load_base_model(request.model, request.seed, models::SequenceHeadRequest{request.num_labels});
}

/// Where nothing is trained, the module's own dropout is never used.
models::ModelOptions module_options(const BaseRequest& request) {
  models::ModelOptions options = request.model;
  options.base_dropout = request.is_trained ? options.base_dropout : 0;
  return options;
}

models::BaseModel open_module(const BaseRequest& request) {
  return torchscript::load_model(module_options(request));
}

models::BaseModel open_module_of_rows(const BaseRequest& request) {
  return load_row_base(module_options(request), *request.rows, request.more_rows, request.objective);
}

std::optional<int64_t> stored_vocab_size(const models::ModelOptions& model) {
  return models::read_vocab_size(model.path);
}

std::optional<std::filesystem::path> start_of(const config::RunConfig& config) {
  return config.adapter ? config.adapter->init_from : std::nullopt;
}

Labels labels_of_start_or_model(const config::RunConfig& config) {
  const auto start = start_of(config);
  return start && names_labels(*start) ? adapter_labels(*start, config.model.path) : known_labels(config.model.path);
}

Labels labels_of_start(const config::RunConfig& config) {
  const auto start = start_of(config);
  return start ? stored_labels(*start) : std::nullopt;
}

/// The labels of the adapters, which must agree; without adapters, those of the model folder's head.
Labels labels_of_classifiers(const std::vector<std::filesystem::path>& adapters, const std::filesystem::path& model) {
  Labels labels;
  for (const std::filesystem::path& adapter : adapters) {
    data::LabelSet own = adapter_labels(adapter, model);
    if (labels && labels->names != own.names) {
      config_error("--adapter " + adapter.string(),
                   "has different labels from the adapter before it: expected the same labels for all adapters");
    }
    labels = std::move(own);
  }
  labels = labels ? labels : known_labels(model);
  if (!labels) {
    model_error(model.string(),
                "the model has no labels: found no id2label in its config.json, expected a trained classifier, or an adapter with "
                "a classifier");
  }
  return labels;
}

/// The labels in the adapters' metadata, which must agree; none if no adapter has any.
Labels labels_in_metadata(const std::vector<std::filesystem::path>& adapters, const std::filesystem::path&) {
  Labels labels;
  for (const std::filesystem::path& adapter : adapters) {
    Labels own = stored_labels(adapter);
    if (labels && own && (labels->names != own->names || labels->is_regression != own->is_regression)) {
      config_error("--adapter " + adapter.string(),
                   "has different classes from the adapter before it: expected the same classes for all adapters");
    }
    labels = own ? std::move(own) : std::move(labels);
  }
  return labels;
}

void apply(const LabelledRows& rows, const data::LabelSet& labels) {
  rows.first = data::resolve_labels(std::move(rows.first), labels);
  if (rows.second != nullptr) {
    *rows.second = data::resolve_labels(std::move(*rows.second), labels);
  }
}

Labels label_documents(const LabelledRows& rows) {
  Labels labels = data::find_labels(rows.first, rows.known);
  apply(rows, *labels);
  return labels;
}

Labels label_module_rows(const LabelledRows& rows) {
  Labels labels = settle_targets(rows.first, rows.second, rows.objective, rows.known, rows.need_labels);
  return rows.objective == ObjectiveKind::kSequenceClassification ? rows.known : labels;
}

Labels label_by_module(const LabelledRows& rows, const nn::Model& model) {
  if (rows.objective != ObjectiveKind::kSequenceClassification) {
    return rows.known;
  }
  Labels labels = row_labels(rows.first, model, rows.known);
  apply(rows, *labels);
  return labels;
}

/// A module has none of PEFT's tasks, nor has the network of a pipeline.
peft::MethodOptions without_task(peft::MethodOptions options, const std::vector<std::string>&) {
  options->has_task = false;
  return options;
}

std::string opening_in_python(const config::RunConfig& config, const std::string& opener) {
  const std::string folder = config.output_dir.string();
  if (config.adapter.as<peft::BottleneckOptions>() != nullptr) {
    return "Load it in Python: adapters.init(model); model.load_adapter(\"" + folder + "\", use_safetensors=True, set_active=True)";
  }
  return config.adapter ? "Load it in Python: PeftModel.from_pretrained(base_model, \"" + folder + "\")"
                        : "Load it in Python: " + opener + ".from_pretrained(\"" + folder + "\")";
}

std::string opening_language_model(const config::RunConfig& config) {
  return opening_in_python(config, "AutoModelForCausalLM");
}

std::string opening_classifier(const config::RunConfig& config) {
  return opening_in_python(config, "AutoModelForSequenceClassification");
}

std::string merging_into_module(const config::RunConfig& config) {
  return "Merge it: lora-merge --model " + config.model.name + " --trust-torchscript --adapter " + config.output_dir.string() +
         " --output merged.pt";
}

std::string converting_for_pipelines(const config::RunConfig& config) {
  const std::string folder = config.output_dir.string();
  if (!config.adapter) {
    return "It is a whole pipeline. Use it: lora-generate --image --model " + folder + " --prompt \"…\" --output image.png";
  }
  return "Write the file for diffusers, or for A1111, ComfyUI and kohya's tools: lora-convert --adapter " + folder + " --model " +
         config.model.name + " --to diffusers|kohya --output lora.safetensors";
}

/// All backends.
constexpr std::array<Backend, 5> kBackends{{
    {.is_module = false,
     .predicts_tokens = true,
     .open = open_family,
     .next_step = opening_language_model,
     .merge = merge_model},
    {.is_module = false,
     .predicts_tokens = false,
     .has_head = true,
     .is_opened_for_rows = true,
     .open = open_classifier,
     .vocab_size = stored_vocab_size,
     .known_labels = labels_of_start_or_model,
     .adapter_labels = labels_of_classifiers,
     .label_rows = label_documents,
     .adapter_options = peft::for_sequence_classification,
     .next_step = opening_classifier,
     .merge = merge_model},
    {.is_module = true,
     .predicts_tokens = true,
     .open = open_module,
     .next_step = merging_into_module,
     .merge = merge_script},
    {.is_module = true,
     .predicts_tokens = false,
     .is_opened_for_rows = true,
     .open = open_module_of_rows,
     .known_labels = labels_of_start,
     .adapter_labels = labels_in_metadata,
     .label_rows = label_module_rows,
     .label_opened = label_by_module,
     .adapter_options = without_task,
     .next_step = merging_into_module,
     .merge = merge_script},
    {.is_module = false,
     .predicts_tokens = false,
     .removes_noise = true,
     .open = open_denoiser,
     .adapter_options = without_task,
     .schedule = pipeline_schedule,
     .next_step = converting_for_pipelines,
     .merge = merge_model},
}};

}  // namespace

const Backend& backend_of(const models::ModelOptions& model, ObjectiveKind objective) {
  const train::ObjectiveEntry& entry = train::objective_entry(objective);
  const bool predicts_tokens = !entry.labels_documents && !entry.needs_module && !entry.removes_noise;
  const auto fits = [&](const Backend& backend) {
    return backend.is_module == model.is_torchscript() && backend.predicts_tokens == predicts_tokens &&
           backend.removes_noise == entry.removes_noise;
  };
  return *std::find_if(kBackends.begin(), kBackends.end(), fits);
}

}  // namespace lora::app
