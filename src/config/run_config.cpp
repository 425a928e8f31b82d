#include "lora/config/run_config.h"

#include "config/overrides.h"
#include "config/rule.h"
#include "config/sections.h"
#include "config/unknown_key.h"

namespace lora::config {

namespace fs = std::filesystem;

namespace {

Json with_description(const char* description, Json schema) {
  Json result{{"description", description}};
  result.update(schema);
  return result;
}

/// A section of the file; said to be missing if it is.
const Json* find_section(const Json& document, const std::string& key, const Place& root) {
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

void report_unknown_sections(const Json& document, const Place& root) {
  const Json schema = run_config_schema();
  std::vector<std::string> known;
  for (const auto& [key, section] : schema["properties"].items()) {
    known.push_back(key);
  }
  for (const auto& [key, value] : document.items()) {
    if (!schema["properties"].contains(key)) {
      report_unknown_key(key, known, root);
    }
  }
}

EvalData eval_data_of(const Json* section, const data::DataOptions& options, const Place& at) {
  if (section == nullptr || !section->is_object() || !at.sound({"eval", "eval_fraction"})) {
    return EvalData::kUnclear;
  }
  return options.eval.empty() && options.eval_fraction == 0 ? EvalData::kNone : EvalData::kSome;
}

/// Whether `path` is one of `output`'s checkpoints or in one: a run removes those.
bool is_in_checkpoint(const fs::path& output, const fs::path& path) {
  std::error_code ignored;
  const fs::path inside = fs::weakly_canonical(path, ignored).lexically_relative(fs::weakly_canonical(output, ignored));
  return !inside.empty() && inside.begin()->string().starts_with("checkpoint-");
}

/// The result must not overwrite what it is made from.
void check_output(const RunConfig& run, const fs::path& config_file, const Place& at) {
  const auto refuse = [&](const fs::path& other, const char* key) {
    if (other.empty()) {
      return;
    }
    if (is_same_folder(run.output_dir, other) || is_in_checkpoint(run.output_dir, other)) {
      at.add("found " + shown(Json(run.output_dir.string())) + ", which " + (is_in_checkpoint(run.output_dir, other) ? "holds " : "is ") +
             key + " too, expected a folder of its own: it would be overwritten");
    }
  };
  refuse(run.model.path, "model.path");
  if (run.model.tokenizer != run.model.path) {
    refuse(run.model.tokenizer, "model.tokenizer");
  }
  if (run.adapter && run.adapter->init_from) {
    refuse(*run.adapter->init_from, "adapter.init_from");
  }
  if (run.output_dir / "run.json" == config_file) {
    at.add("found " + shown(Json(run.output_dir.string())) +
           ", expected another folder: the run writes a run.json of its own there, in place of this config file");
  }
}

fs::path read_output_dir(const Json& value, const Place& at, const Context& context) {
  return accept(text(), value, at) ? absolute_path(context, value.get<std::string>()) : fs::path();
}

/// Reads every section; what is missing or wrong stays at its default and is found in `root.findings`.
RunConfig read_document(const Json& document, const Place& root, const Context& context) {
  report_unknown_sections(document, root);
  RunConfig run;
  run.resolved = Json::object();
  if (const Json* section = find_section(document, "model", root)) {
    auto [options, resolved] = read_model(*section, root.key("model"), context);
    run.model = std::move(options);
    run.resolved["model"] = std::move(resolved);
  }
  if (const Json* section = find_section(document, "adapter", root)) {
    auto [options, resolved] = read_adapter(*section, root.key("adapter"), context);
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
  auto [options, resolved] = read_training(document.value("training", Json::object()), root.key("training"), eval_data);
  run.training = std::move(options);
  run.resolved["training"] = std::move(resolved);
  if (const Json* value = find_section(document, "output_dir", root)) {
    run.output_dir = read_output_dir(*value, root.key("output_dir"), context);
    run.resolved["output_dir"] = run.output_dir.string();
  }
  if (!run.output_dir.empty()) {
    check_output(run, context.file, root.key("output_dir"));
  }
  if (run.model.from_scratch && run.adapter) {
    root.key("model")
        .key("from_scratch")
        .add("found true beside an adapter, expected \"adapter\": null: the random base would be saved nowhere");
  }
  return run;
}

}  // namespace

RunConfig load_run_config(const fs::path& file, const std::vector<std::string>& overrides, const Surroundings& surroundings) {
  Json document = read_json(file, ErrorKind::kConfig);
  Findings findings;
  const Place root{"", findings};
  if (!document.is_object()) {
    config_error(file.string(), "found " + shown(document) + ", expected an object with model, adapter, data, training and output_dir");
  }
  for (const std::string& override : overrides) {
    apply_override(document, override, findings);
  }
  const fs::path whole = fs::absolute(file).lexically_normal();
  const Context context{whole.parent_path(), whole, surroundings};
  RunConfig run = read_document(document, root, context);
  findings.throw_if_any();
  return run;
}

Json run_config_schema() {
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "lora-train run"},
          {"description", "One run of lora-train. Relative paths are relative to the config file's folder."},
          {"type", "object"},
          {"additionalProperties", false},
          {"properties",
           {{"model", with_description("The base model.", model_schema())},
            {"adapter", adapter_schema()},
            {"data", with_description("What is trained and evaluated on.", data_schema())},
            {"training",
             with_description("How it is trained; names and defaults are those of transformers' TrainingArguments.", training_schema())},
            {"output_dir", with_description("Folder of everything that the run writes.", text().schema)}}},
          {"required", {"model", "adapter", "data", "output_dir"}}};
}

}  // namespace lora::config
