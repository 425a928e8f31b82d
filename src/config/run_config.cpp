#include "lora/config/run_config.h"

#include "config/adapter_list.h"
#include "config/exclusions.h"
#include "config/overrides.h"
#include "config/rule.h"
#include "config/sections.h"
#include "config/sweep.h"
#include "config/unknown_key.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"
#include "lora/train/objectives.h"

namespace lora::config {

namespace fs = std::filesystem;

namespace {

Json with_description(const char* description, Json schema) {
  Json result{{"description", description}};
  result.update(schema);
  return result;
}

/// A section of the file; reports it if it is missing.
const Json* find_section(const Json& document, const std::string& key, const ConfigPlace& root) {
  const auto found = document.find(key);
  if (found != document.end()) {
    return &*found;
  }
  if (key == "adapter") {
    root.key(key).add(R"(is missing, expected an adapter, such as {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"})"
                      ", or null to train every weight");
  } else {
    report_missing_key(run_config_schema()["properties"][key], root.key(key));
  }
  return nullptr;
}

void report_unknown_sections(const Json& document, const ConfigPlace& root) {
  const Json schema = run_config_schema();
  std::vector<std::string> known;
  for (const auto& [key, section] : schema["properties"].items()) {
    known.push_back(key);
  }
  bool listed = false;
  for (const auto& [key, value] : document.items()) {
    if (!schema["properties"].contains(key)) {
      report_unknown_key(key, known, root, listed);
    }
  }
}

EvalData eval_data_of(const Json* section, const data::DataOptions& options, const ConfigPlace& at) {
  if (section == nullptr || !section->is_object() || !at.sound({"eval", "eval_fraction"})) {
    return EvalData::kUnclear;
  }
  return options.eval.empty() && options.eval_fraction == 0 ? EvalData::kNone : EvalData::kSome;
}

/// Whether `path` is in one of the checkpoints of `output`, which a run removes.
bool is_in_checkpoint(const fs::path& output, const fs::path& path) {
  std::error_code ignored;
  const fs::path inside = fs::weakly_canonical(path, ignored).lexically_relative(fs::weakly_canonical(output, ignored));
  return !inside.empty() && inside.begin()->string().starts_with("checkpoint-");
}

/// The result must not overwrite its own inputs.
void check_output(const RunConfig& run, const fs::path& config_file, const ConfigPlace& at) {
  const auto refuse = [&](const fs::path& other, const char* key) {
    if (other.empty()) {
      return;
    }
    if (is_same_folder(run.output_dir, other) || is_in_checkpoint(run.output_dir, other)) {
      const char* relation = is_in_checkpoint(run.output_dir, other) ? ", which also holds " : ", which is also ";
      at.add("found " + shown(Json(run.output_dir.string())) + relation + key + ", expected another folder: the run would overwrite it");
    }
  };
  refuse(run.model.path, "model.path");
  if (run.model.tokenizer != run.model.path) {
    refuse(run.model.tokenizer, "model.tokenizer");
  }
  if (run.adapter && run.adapter->init_from) {
    refuse(*run.adapter->init_from, "adapter.init_from");
  }
  refuse(run.model.vae, "model.vae");
  if (run.output_dir / "run.json" == config_file) {
    at.add("found " + shown(Json(run.output_dir.string())) +
           ", expected another folder: the run would replace this config file by its own run.json");
  }
}

fs::path read_output_dir(const Json& value, const ConfigPlace& at, const Context& context) {
  return accept(text(), value, at) ? absolute_path(context, value.get<std::string>()) : fs::path();
}

/// The size of a batch is given either in tokens or in documents.
void check_token_budget(int64_t budget, const Json& document, const ConfigPlace& root) {
  const Json training = document.value("training", Json::object());
  if (training.is_object() && training.contains("per_device_train_batch_size")) {
    root.key("training")
        .key("per_device_train_batch_size")
        .add("found " + shown(training["per_device_train_batch_size"]) + " with data.tokens_per_batch " + std::to_string(budget) +
             ", expected one of the two: remove this key to fill batches by tokens, or set data.tokens_per_batch to null");
  }
}

/// The rows must hold what the objective predicts.
void check_formats(const RunConfig& run, const ConfigPlace& root) {
  const train::ObjectiveEntry& objective = train::objective_entry(run.training.objective);
  const std::string with_objective = " with training.objective \"" + std::string(train::kObjectiveKinds.name(objective.kind)) + "\"";
  for (const auto& [sources, key] : {std::pair(&run.data.train, "train"), std::pair(&run.data.eval, "eval")}) {
    for (size_t i = 0; i < sources->size(); ++i) {
      const ConfigPlace at = root.key("data").key(key).item(i);
      const data::RowFormat format = (*sources)[i].format;
      if (at.sound({"format"}) && !objective.reads(format)) {
        at.key("format").add("found \"" + std::string(data::kRowFormats.name(format)) + "\"" + with_objective + ", expected " +
                             join(train::formats_of(objective.kind), " or ") +
                             (objective.labels_documents ? "" : ". Use \"sequence_classification\" for labelled texts."));
      }
    }
  }
}

/// Settles how batches are measured.
void check_batch(RunConfig& run, const Json& document, const ConfigPlace& root) {
  if (run.data.tokens_per_batch.value_or(0) > 0) {
    check_token_budget(*run.data.tokens_per_batch, document, root);
    run.resolved["training"].erase("per_device_train_batch_size");  // without effect here, and would be refused
  }
}

/// Checks keys of different sections against each other.
void check_sections(const RunConfig& run, const Json& document, const ConfigPlace& root) {
  if (run.training.optimizer.loraplus.lr_ratio && document.value("adapter", Json("missing")).is_null()) {
    root.key("training").key("loraplus_lr_ratio").add("needs an adapter: found \"adapter\": null, which has no matrix B");
  }
  check_formats(run, root);
}

/// Reads every section; what is missing or wrong keeps its default and is reported to `root.findings`. `adapter_at`: the position of the
/// document's adapter in the file.
RunConfig read_document(const Json& document, const ConfigPlace& root, const ConfigPlace& adapter_at, const Context& context) {
  RunConfig run;
  run.resolved = Json::object();
  if (const Json* section = find_section(document, "model", root)) {
    auto [options, resolved] = read_model(*section, root.key("model"), context);
    run.model = std::move(options);
    run.resolved["model"] = std::move(resolved);
  }
  if (const Json* section = find_section(document, "adapter", root)) {
    auto [options, resolved] = read_adapter(*section, adapter_at, context);
    run.adapter = std::move(options);
    run.resolved["adapter"] = std::move(resolved);
  }
  const Json* const data = find_section(document, "data", root);
  if (data != nullptr) {
    auto [options, resolved] = read_data(*data, root.key("data"), context);
    run.data = std::move(options);
    run.resolved["data"] = std::move(resolved);
  }
  const EvalData eval_data = eval_data_of(data, run.data, root.key("data"));
  auto [options, resolved] = read_training(document.value("training", Json::object()), root.key("training"), eval_data, context);
  run.training = std::move(options);
  run.resolved["training"] = std::move(resolved);
  check_batch(run, document, root);
  if (const Json* value = find_section(document, "output_dir", root)) {
    run.output_dir = read_output_dir(*value, root.key("output_dir"), context);
    run.resolved["output_dir"] = run.output_dir.string();
  }
  if (!run.output_dir.empty()) {
    check_output(run, context.file, root.key("output_dir"));
  }
  check_sections(run, document, root);
  return run;
}

/// An adapter may not start from a folder that any run of the list or the sweep writes.
void check_starts(const RunList& list, const ConfigPlace& adapter_at) {
  const bool is_sweep = !list.sweep.empty();
  for (size_t i = 0; i < list.runs.size(); ++i) {
    for (const RunConfig& other : list.runs) {
      const auto& start = list.runs[i].adapter ? list.runs[i].adapter->init_from : std::nullopt;
      if (start && (is_same_folder(*start, other.output_dir) || is_in_checkpoint(other.output_dir, *start))) {
        const ConfigPlace own_at = is_sweep ? adapter_at : adapter_at.item(i);
        own_at.key("init_from")
            .add("found " + shown(Json(start->string())) + ", which " + (is_sweep ? "run '" : "adapter '") + other.name + "' of this " +
                 (is_sweep ? "sweep" : "config") + " writes, expected a folder that it does not change");
      }
    }
  }
}

/// One run per adapter of the list. An error outside the adapters is found in each of them and reported once.
RunList read_runs_of_list(const Json& document, const ConfigPlace& root, const Context& context) {
  RunList list;
  const ConfigPlace adapters_at = root.key("adapter");
  Json resolved_adapters = Json::array();
  const std::vector<ListedAdapter> adapters = read_adapter_list(document["adapter"], adapters_at);
  for (size_t i = 0; i < adapters.size(); ++i) {
    Json single = document;
    single["adapter"] = adapters[i].section;
    list.runs.push_back(read_document(single, root, adapters_at.item(i), context));
    RunConfig& run = list.runs.back();
    list.resolved = run.resolved;
    Json resolved{{"name", adapters[i].name}};
    resolved.update(run.resolved["adapter"]);
    run.name = adapters[i].name;
    run.output_dir /= adapters[i].name;
    run.resolved["output_dir"] = run.output_dir.string();
    if (adapters[i].learning_rate) {
      run.training.learning_rate = *adapters[i].learning_rate;
      run.resolved["training"]["learning_rate"] = resolved["learning_rate"] = number_json(run.training.learning_rate);
    }
    resolved_adapters.push_back(std::move(resolved));
  }
  check_starts(list, adapters_at);
  list.resolved["adapter"] = std::move(resolved_adapters);
  return list;
}

/// One run for each combination of the values.
RunList read_runs_of_sweep(const Json& document, const std::vector<SweptKey>& keys, const ConfigPlace& root, const Context& context) {
  RunList list;
  list.sweep = sweep_points(keys);
  const std::vector<std::string> names = sweep_names(list.sweep);
  for (size_t i = 0; i < list.sweep.size(); ++i) {
    Json single = document;
    for (const std::string& setting : list.sweep[i]) {
      apply_override(single, setting, root.findings);
    }
    list.runs.push_back(read_document(single, root, root.key("adapter"), context));
    RunConfig& run = list.runs.back();
    if (i == 0) {
      list.resolved = run.resolved;
    }
    run.name = names[i];
    run.output_dir /= names[i];
    run.resolved["output_dir"] = run.output_dir.string();
  }
  check_starts(list, root.key("adapter"));
  return list;
}

RunList read_runs(const Json& document, const std::vector<SweptKey>& swept, const ConfigPlace& root, const Context& context) {
  const bool is_list = document.contains("adapter") && document["adapter"].is_array();
  if (is_list && !swept.empty()) {
    root.key("adapter").add("found a list of adapters with --sweep, expected one adapter");
  } else if (is_list) {
    return read_runs_of_list(document, root, context);
  } else if (!swept.empty()) {
    return read_runs_of_sweep(document, swept, root, context);
  }
  RunList list;
  list.runs.push_back(read_document(document, root, root.key("adapter"), context));
  list.resolved = list.runs.front().resolved;
  return list;
}

}  // namespace

RunList load_runs(const fs::path& file, const std::vector<std::string>& overrides, const Surroundings& surroundings,
                  const std::vector<std::string>& sweeps) {
  Json document = read_json(file, ErrorKind::kConfig, {.may_be_pipe = true});
  Findings findings;
  const ConfigPlace root{"", findings};
  if (!document.is_object()) {
    config_error(file.string(), "found " + shown(document) + ", expected an object with model, adapter, data, training and output_dir");
  }
  for (const std::string& override : overrides) {
    apply_override(document, override, findings);
  }
  const fs::path whole = fs::absolute(file).lexically_normal();
  // A pipe has no folder to which paths could be relative.
  const Context context{is_pipe(file) ? fs::current_path() : whole.parent_path(), whole, surroundings};
  report_unknown_sections(document, root);
  RunList list = read_runs(document, read_sweeps(sweeps, findings), root, context);
  check_exclusions(list, root);
  findings.throw_if_any();
  return list;
}

Json run_config_schema() {
  Json adapter = adapter_schema();
  adapter["anyOf"].push_back(adapter_list_schema(adapter["anyOf"]));
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "lora-train run"},
          {"description", "One run of lora-train. Relative paths are relative to the config file's folder."},
          {"type", "object"},
          {"additionalProperties", false},
          {"properties",
           {{"model", with_description("The base model.", model_schema())},
            {"adapter", std::move(adapter)},
            {"data", with_description("Rows to train and evaluate on.", data_schema())},
            {"training",
             with_description("Training settings; names and defaults are those of transformers' TrainingArguments.", training_schema())},
            {"output_dir", with_description("Folder for everything that the run writes.", text().schema)}}},
          {"required", {"model", "adapter", "data", "output_dir"}}};
}

}  // namespace lora::config
