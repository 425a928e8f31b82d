#include "app/init_facts.h"

#include <algorithm>

#include "app/backend.h"
#include "app/classifier.h"
#include "app/control_tokens.h"
#include "app/inference.h"
#include "app/model_path.h"
#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/config/command_line.h"
#include "lora/data/labels.h"
#include "lora/io/dtype_name.h"
#include "lora/models/mapped_model.h"
#include "lora/models/open_checkpoint.h"
#include "lora/nn/model.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

constexpr const char* kFlag = "--init";
constexpr int64_t kMostCounted = 1'000'000;
constexpr int64_t kMostEncoded = 5'000;
constexpr int64_t kNoLimit = 1'000'000;  // tokens: lengths are measured before a limit is chosen

/// The longest document by config.json. Positions of RoBERTa and its relatives begin after the id of its padding token.
std::optional<int64_t> read_max_positions(const JsonReader& config) {
  for (const char* key : {"max_position_embeddings", "n_positions"}) {
    if (config.has(key)) {
      const std::string family = config.string("model_type");
      const bool is_roberta = family == "roberta" || family == "xlm-roberta" || family == "camembert";
      const int64_t skipped = is_roberta ? config.integer("pad_token_id", 1) + 1 : 0;
      return config.integer(key) - skipped;
    }
  }
  return std::nullopt;
}

/// The last parts of the names of the linear modules that "all-linear" selects.
std::vector<std::string> linear_names(nn::Model& model) {
  std::vector<std::string> names;
  const nn::Linear* const head = model.head();
  for (const nn::Host* host : model.hosts()) {
    const std::string name = host->name().substr(host->name().rfind('.') + 1);
    const bool is_linear = dynamic_cast<const nn::Linear*>(host) != nullptr && static_cast<const nn::Host*>(head) != host;
    if (is_linear && std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  return names;
}

/// Opens the tokenizer as a run would; rows of token ids need none.
void try_tokenizer(ModelFacts& facts) {
  if (!tokenizer::has_tokenizer(facts.options.tokenizer)) {
    return;
  }
  facts.tokenizer = tokenizer::load_tokenizer(facts.options.tokenizer);
  try {
    facts.has_template = tokenizer::load_chat_template({""}, facts.options.tokenizer, *facts.tokenizer) != nullptr;
  } catch (const Error&) {
    facts.template_error = std::current_exception();
  }
}

/// Whether a template writes control tokens other than BOS and EOS.
bool has_marks(const ControlTokens& tokens, const tokenizer::Tokenizer& tokenizer) {
  return std::any_of(tokens.ids.begin(), tokens.ids.end(),
                     [&](int32_t id) { return id != tokenizer.bos_id() && id != tokenizer.eos_id(); });
}

/// Chooses a built-in template for messages if the model has none: among those whose control tokens the tokenizer all has, the one with
/// the most; otherwise the first one that ends turns with a token.
void choose_template(const ModelFacts& model, RowFacts& rows) {
  size_t most = 0;
  rows.template_fits = false;
  for (const std::string& name : tokenizer::builtin_chat_templates()) {
    const auto chat_template = tokenizer::load_chat_template({name}, model.options.tokenizer, *model.tokenizer);
    const ControlTokens tokens = control_tokens(*chat_template, *model.tokenizer);
    const bool is_known = tokens.ends_turns && tokens.missing.empty();
    if (is_known && tokens.ids.size() > most) {
      most = tokens.ids.size();
      rows.chat_template = name;
      rows.template_fits = has_marks(tokens, *model.tokenizer);
    } else if (tokens.ends_turns && !rows.chat_template) {
      rows.chat_template = name;
    }
  }
  if (!rows.chat_template) {
    rows.chat_template = tokenizer::builtin_chat_templates().front();
  }
}

void require_fitting_model(const ModelFacts& model, const RowFacts& rows) {
  if (!rows.has_labels() && !model.predicts_tokens) {
    model_error(kFlag, "the model '" + model.options.name + "' (" + model.model_type +
                           ") has no head that predicts tokens: found rows of the format " +
                           std::string(data::kRowFormats.name(rows.survey.format)) + ", expected rows with a \"label\"");
  }
  if (rows.survey.format == data::RowFormat::kFeatures) {
    data_error(kFlag, "rows of features are for TorchScript models: found the model type " + model.model_type +
                          ", expected rows of texts or tokens");
  }
  if (data::needs_text(rows.survey.format) && model.tokenizer == nullptr) {
    model_error(kFlag, "the model's folder '" + model.options.path.string() + "' holds no tokenizer, which rows of the format " +
                           std::string(data::kRowFormats.name(rows.survey.format)) + " need");
  }
}

/// Counts the labels and checks that they can be learned, if every row was read: a part of the rows may lack some of them.
void read_labels(const ModelFacts& model, data::Dataset& dataset, RowFacts& rows) {
  rows.label_kind = dataset.labels.kind;
  const std::optional<data::LabelSet> known = known_labels(model.options.path);
  if (known && (known->is_regression || known->num_labels() == 1)) {
    rows.label_kind = data::LabelKind::kReals;  // the model's head has one output
  }
  if (rows.survey.has_more || rows.survey.num_rows > kMostEncoded) {
    return;
  }
  const data::LabelSet labels = data::find_labels(dataset, known);
  dataset = data::resolve_labels(std::move(dataset), labels);
  if (labels.is_regression) {
    rows.label_kind = data::LabelKind::kReals;
  } else {
    rows.num_labels = labels.num_labels();
  }
}

data::Dataset encode_first(const std::string& path, const ModelFacts& model, const RowFacts& rows) {
  std::unique_ptr<tokenizer::ChatTemplate> chat_template;
  if (data::is_conversation(rows.survey.format) && (model.has_template || rows.chat_template)) {
    chat_template = tokenizer::load_chat_template({rows.chat_template.value_or("")}, model.options.tokenizer, *model.tokenizer);
  }
  data::LoadContext context{model.tokenizer.get(), model.vocab_size};
  context.chat_template = chat_template.get();
  context.instruction_template = chat_template.get();
  data::SourceOptions source;
  source.path = path;
  source.format = rows.survey.format;
  source.limit = kMostEncoded;
  source.documents = rows.survey.documents;
  data::DataOptions options;
  options.max_length = kNoLimit;
  return data::load_dataset(path, {source}, options, context);
}

}  // namespace

int64_t RowFacts::length_at(double share) const {
  const auto index = static_cast<size_t>(share * static_cast<double>(lengths.size() - 1));
  return lengths[index];
}

int64_t RowFacts::num_longer(int64_t length) const {
  return lengths.end() - std::upper_bound(lengths.begin(), lengths.end(), length);
}

ModelFacts read_model_facts(const std::string& name, const config::Surroundings& surroundings) {
  ModelFacts facts;
  facts.options = config::read_model_flags({.model = name, .flag = kFlag}, surroundings);
  require_model(facts.options, kFlag);
  if (backend_of(facts.options).is_module) {
    config_error(kFlag, "found the TorchScript file '" + name + "', expected a Hugging Face model folder. Start from " +
                            "configs/lora_torchscript.json or configs/lora_features.json.");
  }
  const std::unique_ptr<nn::Model> model = models::map_model(facts.options.path);
  const models::ModelConfig config = models::read_model_config(facts.options.path);
  const JsonReader reader = config.reader();
  facts.model_type = reader.string("model_type");
  facts.dtype = io::dtype_name(model->dtype());
  facts.num_parameters = model->base_size().values;
  facts.vocab_size = model->vocab_size();
  facts.max_positions = read_max_positions(reader);
  facts.predicts_tokens = model->head() != nullptr;
  facts.linear = linear_names(*model);
  facts.family_targets = model->body->default_target_modules();
  try_tokenizer(facts);
  if (facts.tokenizer && facts.predicts_tokens) {
    require_vocabulary(*facts.tokenizer, *model, kFlag);
  }
  return facts;
}

RowFacts read_row_facts(const std::string& path, const ModelFacts& model) {
  RowFacts facts;
  facts.survey = data::survey_rows(path, kMostCounted, kFlag);
  require_fitting_model(model, facts);
  const bool may_be_messages =
      facts.survey.format == data::RowFormat::kMessages || facts.survey.format == data::RowFormat::kPromptCompletion;
  if (facts.survey.format == data::RowFormat::kMessages && model.template_error) {
    std::rethrow_exception(model.template_error);
  }
  if (may_be_messages && !model.has_template && !model.template_error) {
    choose_template(model, facts);
  }
  data::Dataset dataset = encode_first(path, model, facts);
  facts.are_messages = facts.survey.format == data::RowFormat::kMessages || dataset.report.message_pairs > 0;
  if (!facts.are_messages) {
    facts.chat_template.reset();
  }
  facts.num_encoded = dataset.report.rows;
  facts.unused_columns = dataset.report.unused_columns;
  for (const data::Example& example : dataset.examples) {
    facts.lengths.push_back(example.num_tokens());
  }
  std::sort(facts.lengths.begin(), facts.lengths.end());
  if (facts.has_labels()) {
    read_labels(model, dataset, facts);
  }
  return facts;
}

}  // namespace lora::app
