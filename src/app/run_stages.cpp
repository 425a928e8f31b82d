// The stages of a run's set-up, each of which returns its result, and their order. What a stage needs:
//
//   tokenizer   the model's folder
//   prompts     the tokenizer: the chat template
//   base        the model's file; where the rows determine how it is opened (Backend::is_opened_for_rows), also rows and labels: their
//               number is the width of the head, and a module is checked on some of the rows
//   rows        tokenizer, prompts, and the vocabulary: the base's, or read from its config where the base is opened later
//   method      the base. Before the rows if possible, so that a wrong target is reported before they are read
//   objective   base and rows
//
// An adapter that is initialised from data (EVA, CorDA, LoRA-GA) needs batches of the rows as well: attach_from_data attaches it, after all
// stages. The memory plan needs all of them: memory_plan.
#include "app/run_stages.h"

#include <algorithm>

#include "app/backend.h"
#include "app/classifier.h"
#include "app/data_start.h"
#include "app/inference.h"
#include "app/model_path.h"
#include "app/open_adapter.h"
#include "app/pipeline_encoders.h"
#include "app/pipeline_result.h"
#include "app/prompt_text.h"
#include "app/run_batches.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/config/stored_quantization.h"
#include "lora/models/packed_modules.h"
#include "lora/nn/adapters.h"
#include "lora/nn/batch.h"
#include "lora/nn/device_graph.h"
#include "lora/nn/pass.h"
#include "lora/peft/task.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

using config::RunConfig;

template <typename SourceTest>
bool has_source(const data::DataOptions& options, const SourceTest& needed) {
  return std::any_of(options.train.begin(), options.train.end(), needed) || std::any_of(options.eval.begin(), options.eval.end(), needed);
}

bool needs_tokenizer(const data::DataOptions& options) {
  return has_source(options, [](const data::SourceOptions& source) { return data::needs_text(source.format); });
}

/// Rows of ids need no tokenizer; --dry-run still uses one to show them, so that a faulty one is not an error then. Rows of a
/// classification may hold texts.
std::unique_ptr<tokenizer::Tokenizer> open_tokenizer(const RunConfig& config) {
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

RunPrompts open_prompts(const RunConfig& config, const tokenizer::Tokenizer* tokenizer) {
  return needs_tokenizer(config.data) ? load_run_prompts(config, *tokenizer) : RunPrompts();
}

/// Throws config Error for settings that need CUDA.
void require_device_run(const RunConfig& config, at::Device device) {
  if (config.training.gradient_checkpointing == train::GradientCheckpointing::kOffload && !device.is_cuda()) {
    config_error("training.gradient_checkpointing",
                 "found \"offload\" on " + device.str() + ", expected \"full\": activations are already in host memory");
  }
  if (config.training.cuda_graphs) {
    nn::make_device_graph(device);
  }
}

const Backend& backend_of_run(const RunConfig& config) {
  return backend_of(config.model, config.training.objective);
}

/// Throws config Error where the adapter trains a whole module whose weight would be packed, before that is done.
void require_trainable_modules(const RunConfig& config) {
  if (!config.adapter || config.adapter->modules_to_save.empty() || backend_of_run(config).removes_noise) {
    return;
  }
  for (const std::string& module : models::packed_modules(config.model)) {
    if (peft::saves_module(*config.adapter, module)) {
      config_error("adapter.modules_to_save",
                   "trains the whole weight of '" + module +
                       "', which model.quantization packs: found a projection, expected modules of plain numbers. "
                       "Remove it, or name it in model.quantization.skip_modules.");
    }
  }
}

/// @param rows null where the base is opened before them.
models::BaseModel open_run_base(const RunConfig& config, const RunRows* rows) {
  BaseRequest request{config.model, config.training.objective, config.training.seed, /*is_trained=*/true};
  if (rows != nullptr) {
    request.num_labels = rows->labels ? std::optional(rows->labels->num_labels()) : std::nullopt;
    request.rows = &rows->train;
    request.more_rows = rows->eval_set();
  }
  models::BaseModel base = backend_of_run(config).open(request);
  require_device_run(config, base.model->device());
  return base;
}

LabelledRows labelled(const RunConfig& config, RunRows& rows, const std::optional<data::LabelSet>& known) {
  return {rows.train, rows.eval ? &*rows.eval : nullptr, config.training.objective, known};
}

/// The encoders that rows of images need; null: there are no such rows.
std::unique_ptr<PipelineEncoders> encoders_for_rows(const RunConfig& config) {
  constexpr const char* kFolder = "encoded_images";
  const auto are_images = [](const data::SourceOptions& source) { return source.format == data::RowFormat::kImages; };
  if (!has_source(config.data, are_images)) {
    return nullptr;
  }
  return std::make_unique<PipelineEncoders>(config.model,
                                            config.data.cache_dir.empty() ? config.output_dir / kFolder : config.data.cache_dir);
}

/// Reads the rows and settles the prompts by what they hold. Labels get their meaning, as far as the base is not needed for it, before a
/// fraction of the training documents is held out.
std::unique_ptr<RunRows> load_run_rows(const RunConfig& config, const tokenizer::Tokenizer* tokenizer, RunPrompts& prompts,
                                   std::optional<int64_t> vocab_size) {
  const Backend& backend = backend_of_run(config);
  data::LoadContext context{tokenizer, vocab_size};
  context.chat_template = prompts.chat_template.get();
  context.instruction_template = prompts.instruction_template();
  const std::unique_ptr<PipelineEncoders> encoders = encoders_for_rows(config);
  context.images = encoders != nullptr ? &encoders->functions() : nullptr;
  auto rows = std::make_unique<RunRows>();
  rows->train = data::load_dataset("data.train", config.data.train, config.data, context);
  if (!config.data.eval.empty()) {
    context.one_form = true;
    rows->eval = data::load_dataset("data.eval", config.data.eval, config.data, context);
  }
  prompts.settle(config.data, rows->train.report.message_pairs + (rows->eval ? rows->eval->report.message_pairs : 0));
  if (backend.label_rows != nullptr) {
    rows->labels = backend.label_rows(labelled(config, *rows, backend.known_labels(config)));
  }
  if (config.data.eval.empty() && config.data.eval_fraction > 0) {
    rows->eval = data::split_off(rows->train, config.data.eval_fraction, config.training.seed);
  }
  return rows;
}

}  // namespace

peft::MethodOptions adapter_options(const RunConfig& config, const models::BaseModel& base) {
  const Backend& backend = backend_of_run(config);
  if (backend.removes_noise && config.adapter && config.adapter->init_from) {
    require_adapter_of_network(*config.adapter->init_from, "adapter.init_from");
  }
  peft::MethodOptions options = backend.adapter_options != nullptr ? backend.adapter_options(config.adapter, base.created) : config.adapter;
  return with_prompt_text(std::move(options), config.model);
}

namespace {

std::unique_ptr<peft::Method> attach_run_adapter(const RunConfig& config, const models::BaseModel& base, const data::LabelSet* labels) {
  return peft::attach_adapter(adapter_options(config, base), *base.model, base_reference(config, base, labels), config.training.seed);
}

/// Null for an adapter that is initialised from data, of which only the choice of modules is checked here.
std::unique_ptr<peft::Method> attach(const RunConfig& config, const models::BaseModel& base, const data::LabelSet* labels) {
  nn::Model& model = *base.model;
  if (!config.adapter) {
    if (!base.component.empty()) {
      require_pipeline_folder(config.model);
    }
    const std::optional<std::vector<std::string>>& patterns = config.training.train_parameters;
    peft::FullResult result{base.config, base.file_names, base.component};
    if (labels != nullptr) {
      result.config = classifier_config(base.config, *labels);
      result.names = classifier_file_names(base.file_names);
    }
    return peft::attach_full(model, std::move(result), patterns);
  }
  if (starts_from_data(config)) {
    require_data_start(config, model);
    return nullptr;
  }
  return attach_run_adapter(config, base, labels);
}

/// Runs the model on the longest document, so that a document that is too long is reported before training.
void try_longest_document(const models::BaseModel& base, const RunRows& rows) {
  const at::NoGradGuard no_grad;
  for (const data::Dataset* dataset : std::initializer_list<const data::Dataset*>{&rows.train, rows.eval_set()}) {
    if (dataset == nullptr || dataset->examples.empty()) {
      continue;
    }
    const data::Example& longest = dataset->examples[static_cast<size_t>(dataset->longest())];
    const nn::Batch batch = nn::make_token_batch({{&longest.ids(), nullptr, 0}}).to(base.model->device());
    const nn::Body& body = *base.model->body;
    body.hidden(nn::evaluation_pass(batch).with_virtual_tokens(body.virtual_tokens()));
  }
}

std::shared_ptr<const diffusion::TrainingSchedule> schedule_of(const RunConfig& config) {
  const Backend& backend = backend_of_run(config);
  return backend.schedule == nullptr ? nullptr : backend.schedule(config.model, config.training.denoising.rescale_betas_zero_snr);
}

std::unique_ptr<train::Objective> make_objective(const RunConfig& config, const models::BaseModel& base, const RunRows& rows) {
  std::unique_ptr<train::Objective> objective =
      train::objective_entry(config.training.objective)
          .make({*base.model, rows.train, rows.eval_set(), rows.label_set(), eval_batches(config), config.training, schedule_of(config)});
  const std::vector<std::string> metrics = objective->metric_names();
  const std::string& needed = config.training.metric_for_best_model;
  if (std::find(metrics.begin(), metrics.end(), needed) == metrics.end()) {
    config_error("training.metric_for_best_model",
                 "found '" + needed + "', expected a metric of this objective and data: " + join(metrics));
  }
  return objective;
}

RunParts load_base_first(const RunConfig& config, std::unique_ptr<tokenizer::Tokenizer> tokenizer) {
  models::BaseModel base = open_run_base(config, nullptr);
  if (tokenizer && needs_tokenizer(config.data)) {
    require_vocabulary(*tokenizer, *base.model, "model.tokenizer");
  }
  RunPrompts prompts = open_prompts(config, tokenizer.get());
  std::unique_ptr<peft::Method> method = attach(config, base, nullptr);
  std::unique_ptr<RunRows> rows = load_run_rows(config, tokenizer.get(), prompts, base.model->vocab_size());
  if (tokenizer) {
    warn_of_unknown_tokens(prompts, config, *tokenizer, *base.model);
  }
  std::unique_ptr<train::Objective> objective = make_objective(config, base, *rows);
  return {std::move(tokenizer), std::move(prompts), std::move(base), std::move(rows), std::move(method), std::move(objective)};
}

RunParts load_rows_first(const RunConfig& config, std::unique_ptr<tokenizer::Tokenizer> tokenizer) {
  const Backend& backend = backend_of_run(config);
  RunPrompts prompts = open_prompts(config, tokenizer.get());
  const std::optional<int64_t> vocab_size = backend.vocab_size != nullptr ? backend.vocab_size(config.model) : std::nullopt;
  std::unique_ptr<RunRows> rows = load_run_rows(config, tokenizer.get(), prompts, vocab_size);
  models::BaseModel base = open_run_base(config, rows.get());
  if (backend.label_opened != nullptr) {
    rows->labels = backend.label_opened(labelled(config, *rows, rows->labels), *base.model);
  }
  std::unique_ptr<peft::Method> method = attach(config, base, rows->label_set());
  if (backend.has_head) {
    try_longest_document(base, *rows);
  }
  std::unique_ptr<train::Objective> objective = make_objective(config, base, *rows);
  return {std::move(tokenizer), std::move(prompts), std::move(base), std::move(rows), std::move(method), std::move(objective)};
}

/// Whether the second run has other rows or base weights: the seed chooses the rows that are held out and draws weights that no file has.
bool loads_otherwise(const RunConfig& previous, const RunConfig& config, const RunParts& parts) {
  const bool holds_out = config.data.eval.empty() && config.data.eval_fraction > 0;
  const bool draws_weights = config.model.from_scratch || !parts.base.created.empty();
  return config.training.objective != previous.training.objective ||
         (config.training.seed != previous.training.seed && (holds_out || draws_weights));
}

}  // namespace

bool starts_from_data(const RunConfig& config) {
  return peft::starts_from_data(config.adapter) && !config.adapter->init_from;
}

namespace {

/// Names the model by its config.json; a TorchScript module has none.
void describe_model(const Json& config, peft::BaseReference& reference) {
  if (!config.is_object()) {
    return;
  }
  reference.model_type = config.value("model_type", "");
  const auto classes = config.find("architectures");
  if (classes != config.end() && classes->is_array() && !classes->empty() && classes->front().is_string()) {
    reference.model_class = classes->front().get<std::string>();
  }
}

}  // namespace

peft::BaseReference base_reference(const RunConfig& config, const models::BaseModel& base, const data::LabelSet* labels) {
  peft::BaseReference reference(config.model.name, base.fingerprint, config.allow_other_base);
  describe_model(labels != nullptr ? classifier_config(base.config, *labels) : base.config, reference);
  reference.labels = labels != nullptr ? data::label_set_json(*labels).dump() : "";
  reference.quantization = base.quantization;
  if (config.model.quantises() && !base.quantization.empty()) {
    reference.quantization_settings = config::quantization_settings(*config.model.quantization, base.model->dtype());
  }
  reference.plain_weight = base.plain_weight;
  return reference;
}

RunParts load_run(const RunConfig& config) {
  require_model(config.model, "model.path", config.training.objective);
  require_trainable_modules(config);
  std::unique_ptr<tokenizer::Tokenizer> tokenizer = open_tokenizer(config);
  return backend_of_run(config).is_opened_for_rows ? load_rows_first(config, std::move(tokenizer))
                                                   : load_base_first(config, std::move(tokenizer));
}

void switch_run(const RunConfig& previous, const RunConfig& config, RunParts& parts) {
  const bool is_loaded_otherwise = loads_otherwise(previous, config, parts);
  parts.method.reset();
  parts.objective.reset();
  if (is_loaded_otherwise) {
    parts = RunParts();
    parts = load_run(config);
    return;
  }
  if (peft::changes_base(previous.adapter)) {
    parts.base = open_run_base(config, backend_of_run(config).is_opened_for_rows ? parts.rows.get() : nullptr);
  } else {
    nn::remove_adapters(*parts.base.model);
  }
  parts.method = attach(config, parts.base, parts.rows->label_set());
  parts.objective = make_objective(config, parts.base, *parts.rows);
}

void attach_initial_ranks(const RunConfig& config, RunParts& parts) {
  parts.method = attach_run_adapter(config, parts.base, parts.rows->label_set());
}

void require_attachable(const RunConfig& config, RunParts& parts) {
  peft::require_matching_targets(adapter_options(config, parts.base), *parts.base.model);
}

}  // namespace lora::app
