#include "config/quantization_field.h"
#include "config/sections.h"
#include "config/table.h"
#include "lora/base/sibling.h"
#include "lora/base/text.h"
#include "lora/torchscript/is_script.h"

namespace lora::config {

namespace {

using models::ModelOptions;

Rule device_rule() {
  Rule rule = text();
  rule.schema["pattern"] = "^(auto|cpu|cuda|cuda:(0|[1-9][0-9]{0,2}))$";
  rule.expected = R"("auto", "cpu", "cuda" or "cuda:N")";
  return rule;
}

/// Resolves auto by the content of the file.
models::ModelFormat resolved_format(const ModelOptions& options) {
  if (options.format != models::ModelFormat::kAuto) {
    return options.format;
  }
  return torchscript::is_script(options.path) ? models::ModelFormat::kTorchScript : models::ModelFormat::kSafetensors;
}

void add_base(Table<ModelOptions>& table) {
  table
      .value(
          "path", [](auto& o) -> auto& { return o.name; }, text(),
          "Base model: a Hugging Face folder (config.json, *.safetensors), a GGUF file, org/name of a model in the local Hugging Face "
          "cache, a TorchScript file, or a text-to-image pipeline (a diffusers folder, or a single .safetensors file).")
      .required()
      .example("models/SmolLM2-135M-Instruct")
      .choice(
          "format", [](auto& o) -> auto& { return o.format; }, models::kModelFormats,
          "File format of the model: auto (detected), safetensors or torchscript.")
      .choice(
          "dtype", [](auto& o) -> auto& { return o.dtype; }, models::kComputeDtypes,
          "Data type of the base weights and of the computation; auto: that of the checkpoint.")
      .example("bfloat16")
      .value(
          "device", [](auto& o) -> auto& { return o.device; }, device_rule(),
          "Device to train on; auto: a GPU if there is one, otherwise the CPU.")
      .example("cuda:0")
      .value(
          "tokenizer", [](auto& o) -> auto& { return o.tokenizer; }, nullable(text()),
          "Folder or file of the tokenizer; null: the folder of the model.")
      .example("models/base/tokenizer.json")
      .custom(quantization_field())
      .value(
          "from_scratch", [](auto& o) -> auto& { return o.from_scratch; }, boolean(),
          "Start from random weights in the shape that config.json describes, not from a checkpoint.")
      .value(
          "base_dropout", [](auto& o) -> auto& { return o.base_dropout; }, nullable(number({.from = 0, .below = 1})),
          "Dropout rate of the base model in training, which replaces every rate in its config.json; null: keep those rates.")
      .example(0.1);
}

void add_torchscript(Table<ModelOptions>& table) {
  table
      .value(
          "trust_torchscript", [](auto& o) -> auto& { return o.trust_torchscript; }, boolean(),
          "Allow the code in a TorchScript file to run: such a file is a program, not only data.")
      .value(
          "inputs", [](auto& o) -> auto& { return o.inputs; }, nullable(list_of(text(), 1)),
          "Batch fields in the order of a TorchScript model's arguments (input_ids, attention_mask, position_ids, token_type_ids and "
          "labels; target for rows with one label each; features and target for features rows); null: by the names of the arguments.")
      .only_where_given()
      .example({"input_ids", "attention_mask"})
      .value(
          "output", [](auto& o) -> auto& { return o.output; }, nullable(text()),
          "Part of a TorchScript model's result to use: a key, or the index of an element (\"1\"); null: the logits, or the loss.")
      .only_where_given()
      .example("logits");
}

/// A text for which null stands for the default, "".
Field<ModelOptions> pipeline_text(std::string key, std::string ModelOptions::*member, const Rule& rule, std::string description,
                                  Json example) {
  Field<ModelOptions> field{std::move(key), std::move(description), rule.schema, nullptr, nullptr};
  field.read = [member, rule](const Json& value, ModelOptions& options, const ConfigPlace& at) {
    if (accept(rule, value, at)) {
      options.*member = value.is_null() ? "" : value.get<std::string>();
    }
  };
  field.only_where_given = true;
  field.example = std::move(example);
  return field;
}

void add_pipeline(Table<ModelOptions>& table) {
  table
      .custom(pipeline_text("prediction_type", &ModelOptions::prediction_type, nullable(name_of({"epsilon", "v_prediction"})),
                            "What the network of a text-to-image pipeline predicts: the noise (epsilon) or the velocity (v_prediction); "
                            "null: as the scheduler's config says.",
                            "v_prediction"))
      .custom(pipeline_text("variant", &ModelOptions::variant, nullable(text()),
                            "Variant of the weight files of a text-to-image pipeline, such as fp16 for "
                            "diffusion_pytorch_model.fp16.safetensors; null: the plain files, or the only ones.",
                            "fp16"));
  table
      .value(
          "vae", [](auto& o) -> auto& { return o.vae; }, nullable(text()),
          "Folder of another VAE for a text-to-image pipeline; null: the pipeline's own.")
      .only_where_given()
      .example("models/sdxl-vae-fp16-fix")
      .value(
          "clip_skip", [](auto& o) -> auto& { return o.clip_skip; }, integer(1, 100),
          "Layer of a text-to-image pipeline's CLIP encoders whose states are used, as A1111 and kohya's tools count: 1 is the usual one, "
          "2 the one before it.")
      .only_where_given()
      .example(2);
}

const Table<ModelOptions>& model_table() {
  static const Table<ModelOptions> kTable = [] {
    Table<ModelOptions> table;
    add_base(table);
    add_torchscript(table);
    add_pipeline(table);
    return table;
  }();
  return kTable;
}

}  // namespace

Json model_schema() {
  return model_table().schema();
}

Section<ModelOptions> read_model(const Json& section, const ConfigPlace& at, const Context& context) {
  Section<ModelOptions> result;
  ModelOptions& options = result.options;
  model_table().read(section, options, at);
  result.resolved = model_table().resolved(options, section);
  if (!options.name.empty()) {
    const ModelFolder model = find_model(context, options.name);
    options.path = model.path;
    result.resolved["path"] = model.written;
    if (!model.searched.empty()) {
      at.key("path").add("found " + shown(Json(options.name)) +
                             ", expected a folder, or the name of a model in the local Hugging Face cache. It is in none of " +
                             join(model.searched) + ", and nothing is downloaded: fetch it first, for example with `hf download " +
                             options.name + "`" + did_you_mean_sibling(options.path) + ".",
                         ErrorKind::kModel);
    }
  }
  if (!options.vae.empty()) {
    options.vae = absolute_path(context, options.vae);
    result.resolved["vae"] = options.vae.string();
  }
  options.format = resolved_format(options);
  for (const auto& [key, is_given] : {std::pair("inputs", options.inputs.has_value()), std::pair("output", options.output.has_value())}) {
    if (is_given && !options.is_torchscript()) {
      at.key(key).add("found a value with a model that is not a TorchScript file, expected null: only such models have this key");
    }
  }
  if (options.tokenizer.empty()) {
    options.tokenizer = options.is_torchscript() ? options.path.parent_path() : options.path;
  } else {
    // A path such as "x/tokenizer.model" also looks like "org/name"; if it is missing, opening it reports that.
    const ModelFolder tokenizer = find_model(context, options.tokenizer.string());
    options.tokenizer = tokenizer.path;
    result.resolved["tokenizer"] = tokenizer.written;
  }
  return result;
}

}  // namespace lora::config
