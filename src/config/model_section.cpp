#include "config/sections.h"
#include "config/table.h"
#include "lora/base/text.h"

namespace lora::config {

namespace {

using models::ModelOptions;

Rule device_rule() {
  Rule rule = text();
  rule.schema["pattern"] = "^(auto|cpu|cuda|cuda:(0|[1-9][0-9]{0,2}))$";
  rule.expected = R"("auto", "cpu", "cuda" or "cuda:N")";
  return rule;
}

const Table<ModelOptions>& model_table() {
  static const Table<ModelOptions> kTable = [] {
    Table<ModelOptions> table;
    table
        .value(
            "path", [](auto& o) -> auto& { return o.name; }, text(),
            "Folder of the base model as Hugging Face writes it (config.json, *.safetensors), or org/name of one in the local Hugging Face "
            "cache.")
        .required()
        .fixed("format", {"auto", "safetensors"}, "Kind of the model's file.")
        .choice(
            "dtype", [](auto& o) -> auto& { return o.dtype; }, models::kComputeDtypes,
            "Type of the base weights and of computing; auto: the checkpoint's.")
        .value(
            "device", [](auto& o) -> auto& { return o.device; }, device_rule(), "auto (a GPU where there is one), cpu, cuda or cuda:N.")
        .value(
            "tokenizer", [](auto& o) -> auto& { return o.tokenizer; }, nullable(text()),
            "Folder or file of the tokenizer; null: the model's folder.")
        .fixed("quantization", {nullptr}, "How the frozen weights are stored in fewer bits.")
        .value(
            "from_scratch", [](auto& o) -> auto& { return o.from_scratch; }, boolean(), "Start from random weights of config.json's shape.")
        .value(
            "base_dropout", [](auto& o) -> auto& { return o.base_dropout; }, nullable(number({.from = 0, .below = 1})),
            "The base's own dropout in training, in place of every rate in its config.json; null: as config.json has it.")
        .fixed("trust_torchscript", {false}, "Run code of a TorchScript file.")
        .fixed("inputs", {nullptr}, "What a TorchScript model takes.")
        .only_where_given()
        .fixed("output", {nullptr}, "What a TorchScript model gives.")
        .only_where_given();
    return table;
  }();
  return kTable;
}

}  // namespace

Json model_schema() {
  return model_table().schema();
}

Section<ModelOptions> read_model(const Json& section, const Place& at, const Context& context) {
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
                             join(model.searched) + "; nothing is downloaded: fetch it first, for example with `hf download " +
                             options.name + "`",
                         ErrorKind::kModel);
    }
  }
  if (options.tokenizer.empty()) {
    options.tokenizer = options.path;
  } else {
    // A file such as "x/tokenizer.model" looks like "org/name" too: where it is missing is said when it is opened.
    const ModelFolder tokenizer = find_model(context, options.tokenizer.string());
    options.tokenizer = tokenizer.path;
    result.resolved["tokenizer"] = tokenizer.written;
  }
  return result;
}

}  // namespace lora::config
