#include "app/eval_rows.h"

#include "app/pipeline_encoders.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"

namespace lora::app {

namespace {

data::Dataset load_eval_rows(const EvalSource& from, const tokenizer::Tokenizer* tokenizer, std::optional<int64_t> vocab_size,
                             bool keep_unsupervised, const tokenizer::ChatTemplate* chat_template = nullptr,
                             const data::ImageEncoders* images = nullptr) {
  data::LoadContext context{tokenizer, vocab_size, keep_unsupervised};
  context.images = images;
  context.one_form = true;
  context.chat_template = chat_template;
  context.instruction_template = chat_template;
  return data::load_dataset("--data", {from.source}, from.options, context);
}

}  // namespace

data::Dataset load_module_rows(const EvalSource& from, const models::ModelOptions& model) {
  const data::RowFormat format = from.source.format;
  const bool has_texts =
      data::needs_text(format) || (format == data::RowFormat::kClassification && tokenizer::has_tokenizer(model.tokenizer));
  const auto tokenizer = has_texts ? tokenizer::load_tokenizer(model.tokenizer) : nullptr;
  const tokenizer::ChatTemplateChoice choice{from.request.chat_template, first_adapter_folder(from.request.inference), "--chat-template"};
  const auto chat_template = row_template(format, choice, model, tokenizer.get());
  data::Dataset rows = load_eval_rows(from, tokenizer.get(), std::nullopt, !from.request.predictions.empty(), chat_template.get());
  require_template_used(choice, format, rows);
  return rows;
}

data::Dataset load_labelled_rows(const EvalSource& from, const InferenceParts& parts) {
  const auto tokenizer = parts.tokenizer_for(from.source.format);
  data::Dataset rows = load_eval_rows(from, tokenizer.get(), parts.base.model->vocab_size(), !from.request.predictions.empty());
  return data::resolve_labels(std::move(rows), *parts.labels);
}

EvalDocuments::EvalDocuments(const EvalSource& from, const InferenceParts& parts)
    : from_(from), parts_(parts), tokenizer_(parts.tokenizer_for(from.source.format)) {}

const data::Dataset& EvalDocuments::of(const std::string& adapter) {
  const std::string& owner = adapter.empty() && !parts_.adapters.empty() ? parts_.adapters.front().name : adapter;
  const auto choice = parts_.template_choice(owner, from_.request.chat_template);
  const auto chat_template = row_template(from_.source.format, choice, parts_.options, tokenizer_.get());
  const std::string identity = chat_template ? chat_template->identity() : "";
  if (!dataset_ || identity != identity_) {
    identity_ = identity;
    load(chat_template.get());
    require_template_used(choice, from_.source.format, *dataset_);
  }
  return *dataset_;
}

void EvalDocuments::load(const tokenizer::ChatTemplate* chat_template) {
  if (from_.source.format == data::RowFormat::kInstruction) {
    log::info("Instruction rows use " + (chat_template == nullptr ? "the Alpaca prompt" : "the chat template " + chat_template->name()));
  }
  std::optional<PipelineEncoders> encoders;
  if (from_.source.format == data::RowFormat::kImages) {
    const std::filesystem::path& cache = from_.request.cache_dir;
    encoders.emplace(parts_.options, cache.empty() ? encoded_.emplace().path() : cache);
  }
  dataset_ = load_eval_rows(from_, tokenizer_.get(), parts_.base.model->vocab_size(), !from_.request.token_logprobs.empty(), chat_template,
                            encoders ? &encoders->functions() : nullptr);
  if (dataset_->num_supervised() == 0) {
    data_error("--data", "no document has a supervised token: found " +
                             counted(static_cast<int64_t>(dataset_->examples.size()), "document") + ". Check the labels or completions.");
  }
}

}  // namespace lora::app
