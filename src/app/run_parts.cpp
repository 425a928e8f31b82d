#include "app/run_parts.h"

#include <algorithm>
#include <limits>

#include "app/adapter_templates.h"
#include "app/classifier.h"
#include "app/companions.h"
#include "app/inference.h"
#include "app/load_base.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/nn/adapters.h"
#include "lora/nn/device_graph.h"
#include "lora/nn/pass.h"
#include "lora/nn/token_batch.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"
#include "lora/peft/task.h"
#include "app/model_path.h"
#include "app/run_batches.h"
#include "app/run_folder.h"
#include "app/script_rows.h"

namespace lora::app {

namespace {

template <typename SourceTest>
bool has_source(const data::DataOptions& options, const SourceTest& needed) {
  return std::any_of(options.train.begin(), options.train.end(), needed) || std::any_of(options.eval.begin(), options.eval.end(), needed);
}

bool needs_tokenizer(const data::DataOptions& options) {
  return has_source(options, [](const data::SourceOptions& source) { return data::needs_text(source.format); });
}

/// Rows of ids need no tokenizer; --dry-run still uses one to show them, so that a faulty one is not an error then. Rows of a
/// classification may hold texts.
std::unique_ptr<tokenizer::Tokenizer> open_tokenizer(const config::RunConfig& config) {
  if (needs_tokenizer(config.data)) {
    return tokenizer::load_tokenizer(config.model.tokenizer);
  }
  const auto is_classification = [](const data::SourceOptions& source) { return source.format == data::RowFormat::kClassification; };
  if (tokenizer::has_tokenizer(config.model.tokenizer) && has_source(config.data, is_classification)) {
    return tokenizer::load_tokenizer(config.model.tokenizer);
  }
  try {
    return tokenizer::load_tokenizer(config.model.tokenizer);
  } catch (const Error&) {
    return nullptr;
  }
}

/// Copies the files that accompany the weights of a fully fine-tuned model.
void copy_model_companions(const config::RunConfig& config, const fs::path& folder) {
  copy_companions(fs::is_directory(config.model.tokenizer) ? config.model.tokenizer : config.model.tokenizer.parent_path(), folder);
  const fs::path generation = config.model.path / "generation_config.json";
  if (fs::exists(generation)) {
    write_file_atomically(folder / generation.filename(), read_file(generation, ErrorKind::kModel));
  }
}

Json data_files(const data::Dataset* dataset) {
  Json files = Json::array();
  if (dataset != nullptr) {
    for (const data::SourceFile& file : dataset->files) {
      files.push_back({{"path", file.path}, {"sha256", file.sha256}});
    }
  }
  return files;
}

/// Throws config Error for settings that need CUDA.
void require_device_run(const config::RunConfig& config, at::Device device) {
  if (config.training.gradient_checkpointing == train::GradientCheckpointing::kOffload && !device.is_cuda()) {
    config_error("training.gradient_checkpointing",
                 "found \"offload\" on " + device.str() + ", expected \"full\": activations are already in host memory");
  }
  if (config.training.cuda_graphs) {
    nn::make_device_graph(device);
  }
}

}  // namespace

Json RunParts::hashes(const config::RunConfig& config) const {
  if (shared_hashes_.is_null()) {
    shared_hashes_["base"] = hash_files(base.files);
    shared_hashes_["tokenizer"] = tokenizer ? hash_files(tokenizer->files()) : Json::object();
    if (prompts.chat_template) {
      shared_hashes_["chat_template"] = prompts.chat_template->identity();
    }
    shared_hashes_["init_from"] = Json::object();
    shared_hashes_["train"] = data_files(&train);
    shared_hashes_["eval"] = data_files(eval_set());
  }
  Json all = shared_hashes_;
  if (config.adapter && config.adapter->init_from) {
    all["init_from"] =
        hash_files({*config.adapter->init_from / peft::kAdapterConfigFile, peft::adapter_weights_file(*config.adapter->init_from)});
  }
  return all;
}

peft::BaseReference RunParts::base_reference(const config::RunConfig& config) const {
  peft::BaseReference reference(config.model.name, base.fingerprint, config.allow_other_base);
  reference.labels = labels ? data::label_set_json(*labels).dump() : "";
  return reference;
}

peft::LoraOptions RunParts::adapter_options(const config::RunConfig& config) const {
  if (takes_rows_whole(config.model, config.training.objective)) {
    peft::LoraOptions options = *config.adapter;
    options.has_task = false;
    return options;
  }
  return labels ? peft::for_sequence_classification(*config.adapter, base.created) : *config.adapter;
}

std::unique_ptr<peft::Method> RunParts::attach_full(const config::RunConfig& config) const {
  if (!labels) {
    return peft::attach_full(*base.model, base.config, base.file_names);
  }
  return peft::attach_full(*base.model, classifier_config(base.config, *labels), classifier_file_names(base.file_names));
}

void RunParts::save(const config::RunConfig& config, const fs::path& folder) const {
  method->save(folder);
  if (!config.adapter) {
    copy_model_companions(config, folder);
  }
  prompts.save(folder);
  if (!config.adapter && prompts.chat_template != nullptr && !prompts.is_models_own) {
    end_generation_at_turns(folder);
  }
}

void RunParts::load_base(const config::RunConfig& config) {
  if (takes_rows_whole(config.model, config.training.objective)) {
    base = load_row_base(config.model, train, eval_set(), config.training.objective);
  } else {
    base = labels ? models::load_base_model(config.model, config.training.seed, models::SequenceHeadRequest{labels->num_labels()})
                  : app::load_base(config.model, config.training.seed);
  }
  require_device_run(config, base.model->device());
}

void RunParts::attach(const config::RunConfig& config) {
  nn::Model& model = *base.model;
  if (config.adapter && config.adapter->init == peft::LoraInit::kEva && !config.adapter->init_from) {
    eva = std::make_unique<peft::EvaPass>(*config.adapter, model);
  } else {
    method = config.adapter ? peft::attach_lora(adapter_options(config), model, base_reference(config), config.training.seed)
                            : attach_full(config);
  }
  attached_ = &config;
}

void RunParts::make_objective(const config::RunConfig& config) {
  objective = train::objective_entry(config.training.objective)
                  .make({*base.model, train, eval_set(), labels ? &*labels : nullptr, eval_batches(config)});
  const std::vector<std::string> metrics = objective->metric_names();
  const std::string& needed = config.training.metric_for_best_model;
  if (std::find(metrics.begin(), metrics.end(), needed) == metrics.end()) {
    config_error("training.metric_for_best_model",
                 "found '" + needed + "', expected a metric of this objective and data: " + join(metrics));
  }
}

void RunParts::prepare(const config::RunConfig& config) {
  if (attached_ == &config) {
    return;
  }
  method.reset();
  eva.reset();
  if (peft::trains_or_changes_base(*attached_->adapter)) {
    objective.reset();
    load_base(config);
    make_objective(config);
  } else {
    nn::remove_adapters(*base.model);
  }
  attach(config);
}

void RunParts::load_prompts(const config::RunConfig& config) {
  if (needs_tokenizer(config.data)) {
    prompts = load_run_prompts(config, *tokenizer);
  }
}

void RunParts::load_data(const config::RunConfig& config, int64_t vocab_size) {
  data::LoadContext context{tokenizer.get(), vocab_size};
  context.chat_template = prompts.chat_template.get();
  context.instruction_template = prompts.instruction_template();
  train = data::load_dataset("data.train", config.data.train, config.data, context);
  if (!config.data.eval.empty()) {
    eval = data::load_dataset("data.eval", config.data.eval, config.data, context);
  }
  prompts.settle(config.data, train.report.message_pairs + (eval ? eval->report.message_pairs : 0));
}

/// Splits off the fraction of the training documents that the config holds out for evaluation.
void RunParts::split_off_eval(const config::RunConfig& config) {
  if (config.data.eval.empty() && config.data.eval_fraction > 0) {
    eval = data::split_off(train, config.data.eval_fraction, config.training.seed);
  }
}

/// Runs the model on the longest document, so that a document that is too long is reported before training.
void RunParts::try_longest_document() const {
  const at::NoGradGuard no_grad;
  for (const data::Dataset* dataset : std::initializer_list<const data::Dataset*>{&train, eval_set()}) {
    if (dataset == nullptr || dataset->examples.empty()) {
      continue;
    }
    const data::Example& longest = dataset->examples[static_cast<size_t>(dataset->longest())];
    const nn::TokenBatch batch = nn::make_token_batch({{&longest.ids, nullptr, 0}}).to(base.model->device());
    base.model->hidden(nn::evaluation_pass(batch));
  }
}

void RunParts::apply_labels() {
  data::apply_labels(train, *labels);
  if (eval) {
    data::apply_labels(*eval, *labels);
  }
}

/// Loads rows, then the model: the labels of the rows determine the model's head.
void RunParts::load_labelled(const config::RunConfig& config) {
  load_data(config, models::read_vocab_size(config.model.path));
  const auto& init_from = config.adapter ? config.adapter->init_from : std::nullopt;
  labels = data::find_labels(
      train, init_from && names_labels(*init_from) ? adapter_labels(*init_from, config.model.path) : known_labels(config.model.path));
  apply_labels();
  split_off_eval(config);
  load_base(config);
  attach(config);
  try_longest_document();
}

/// Loads rows, then the module: the rows determine how the module is called.
void RunParts::load_module_rows(const config::RunConfig& config) {
  load_data(config, std::numeric_limits<int32_t>::max());
  const auto& init_from = config.adapter->init_from;
  const std::optional<data::LabelSet> known = init_from ? stored_labels(*init_from) : std::nullopt;
  labels = settle_targets(train, eval ? &*eval : nullptr, config.training.objective, known);
  split_off_eval(config);
  load_base(config);
  if (config.training.objective == train::ObjectiveKind::kSequenceClassification) {
    labels = row_labels(train, *base.model, known);
    apply_labels();
  }
  attach(config);
}

std::unique_ptr<RunParts> load_run_parts(const config::RunConfig& config) {
  require_model(config.model, "model.path");
  auto parts = std::make_unique<RunParts>();
  parts->tokenizer = open_tokenizer(config);
  if (takes_rows_whole(config.model, config.training.objective)) {
    parts->load_prompts(config);
    parts->load_module_rows(config);
    parts->make_objective(config);
    return parts;
  }
  if (train::objective_entry(config.training.objective).labels_documents) {
    parts->load_labelled(config);
    parts->make_objective(config);
    return parts;
  }
  parts->load_base(config);
  if (parts->tokenizer && needs_tokenizer(config.data)) {
    require_vocabulary(*parts->tokenizer, *parts->base.model, "model.tokenizer");
  }
  parts->load_prompts(config);
  parts->attach(config);  // before the data, so that a wrong target is reported at once
  parts->load_data(config, parts->base.model->vocab_size());
  if (parts->tokenizer) {
    warn_of_unknown_tokens(parts->prompts, config, *parts->tokenizer, *parts->base.model);
  }
  parts->split_off_eval(config);
  parts->make_objective(config);
  return parts;
}

}  // namespace lora::app
