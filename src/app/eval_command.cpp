#include "lora/app/eval_command.h"

#include <cmath>
#include <limits>
#include <optional>

#include "app/document_scores.h"
#include "app/eval_labels.h"
#include "app/eval_rows.h"
#include "app/flag_value.h"
#include "app/inference.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/result_file.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/nn/adapters.h"
#include "lora/nn/batch.h"
#include "lora/train/objectives.h"
#include "app/result_inputs.h"
#include "app/text_table.h"

namespace lora::app {

namespace {

data::DataOptions data_options(const EvalRequest& request) {
  data::DataOptions options;
  options.max_length = std::numeric_limits<int64_t>::max();
  options.train_on = flag_value(data::kTrainOn, request.train_on, "--train-on");
  options.parse_special_tokens = request.parse_special_tokens;
  return options;
}

data::SourceOptions source_options(const EvalRequest& request) {
  data::SourceOptions source = request.source;
  source.format = flag_value(data::kRowFormats, request.format, "--format");
  source.documents = flag_value(data::kTextDocuments, request.documents, "--documents");
  for (const std::string& column : request.columns) {
    const size_t equals = column.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == column.size()) {
      config_error("--column", "found '" + column + "', expected FIELD=COLUMN, for example prompt=question");
    }
    source.columns[column.substr(0, equals)] = column.substr(equals + 1);
  }
  return source;
}

/// The sums of one adapter's evaluation, or of the base model's.
struct Totals {
  double loss = 0;
  int64_t correct = 0;
  int64_t tokens = 0;

  /// Adds the supervised tokens of a document.
  void add(const data::Example& example, const DocumentScores& scores) {
    for (size_t i = 1; i < example.ids().size(); ++i) {
      if (example.label(i) != nn::kIgnoreLabel) {
        loss += scores.losses[i];
        correct += scores.correct[i] ? 1 : 0;
        ++tokens;
      }
    }
  }
  double mean_loss() const { return loss / static_cast<double>(tokens); }
};

/// A row of --token-logprobs. `loss` is the mean over the document's supervised tokens, null if it has none.
std::string logprobs_row(size_t index, const data::Example& example, const DocumentScores& scores) {
  Totals own;
  own.add(example, scores);
  Json logprobs = Json::array();
  for (size_t i = 0; i < example.ids().size(); ++i) {
    logprobs.push_back(i == 0 ? Json(nullptr) : Json(-scores.losses[i]));
  }
  const Json row{{"index", index},
                 {"input_ids", example.ids()},
                 {"logprobs", std::move(logprobs)},
                 {"loss", own.tokens > 0 ? Json(own.mean_loss()) : Json(nullptr)}};
  return row.dump() + "\n";
}

Totals evaluate(nn::Model& model, const data::Dataset& dataset, const EvalRequest& request, const std::optional<ResultFile>& rows) {
  Totals totals;
  if (!rows) {
    score_documents(model, dataset, request.batch_size, false,
                    [&](size_t i, const DocumentScores& scores) { totals.add(dataset.examples[i], scores); });
    return totals;
  }
  rows->write([&](const Append& append) {
    score_documents(model, dataset, request.batch_size, true, [&](size_t i, const DocumentScores& scores) {
      totals.add(dataset.examples[i], scores);
      const std::string row = logprobs_row(i, dataset.examples[i], scores);
      append(row.data(), row.size());
    });
  });
  return totals;
}

Json result_json(const std::string& adapter, const Totals& totals, const data::Dataset& dataset, const EvalRequest& request) {
  return {{"model", request.inference.model},
          {"adapter", adapter.empty() ? Json(nullptr) : Json(adapter)},
          {"data", request.source.path},
          {"loss", totals.mean_loss()},
          {"perplexity", std::exp(totals.mean_loss())},
          {"token_accuracy", static_cast<double>(totals.correct) / static_cast<double>(totals.tokens)},
          {"num_tokens", totals.tokens},
          {"num_input_tokens", dataset.num_tokens()},
          {"num_documents", dataset.examples.size()}};
}

/// Adds the difference from the base model's loss, which comes first, to each adapter's result.
void add_changes_from_base(std::vector<Json>& results) {
  for (Json& result : results) {
    if (!result["adapter"].is_null()) {
      result["loss_difference"] = result["loss"].get<double>() - results.front()["loss"].get<double>();
    }
  }
}

std::string result_table(const std::vector<Json>& results) {
  const bool compares = results.back().contains("loss_difference");
  TextTable table;
  std::vector<std::string> head{"adapter", "loss", "perplexity", "accuracy", "tokens"};
  if (compares) {
    head.insert(head.begin() + 2, "difference");
  }
  table.add(std::move(head));
  for (const Json& result : results) {
    std::vector<std::string> line{result["adapter"].is_null() ? "(none)" : result["adapter"].get<std::string>()};
    for (const char* key : {"loss", "loss_difference", "perplexity", "token_accuracy"}) {
      if (result.contains(key)) {
        line.push_back(short_number(result[key].get<double>(), 6));
      } else if (compares) {
        line.emplace_back();
      }
    }
    line.push_back(with_thousands(result["num_tokens"].get<int64_t>()));
    table.add(std::move(line));
  }
  return table.text();
}

/// The rows for each adapter: adapters with different chat templates need different token ids.
class EvalRows {
 public:
  EvalRows(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options, const InferenceParts& parts)
      : request_(request), source_(source), options_(options), parts_(parts), tokenizer_(parts.tokenizer_for(source.format)) {}

  /// The base model ("") gets the same text as the first adapter, so that the two can be compared.
  const data::Dataset& of(const std::string& adapter) {
    const std::string& owner = adapter.empty() && !parts_.adapters.empty() ? parts_.adapters.front().name : adapter;
    const auto choice = parts_.template_choice(owner, request_.chat_template);
    const auto chat_template = row_template(source_.format, choice, parts_.options, tokenizer_.get());
    const std::string identity = chat_template ? chat_template->identity() : "";
    if (!dataset_ || identity != identity_) {
      identity_ = identity;
      load(chat_template.get());
      require_template_used(choice, source_.format, *dataset_);
    }
    return *dataset_;
  }

 private:
  void load(const tokenizer::ChatTemplate* chat_template) {
    if (source_.format == data::RowFormat::kInstruction) {
      log::info("Instruction rows use " + (chat_template == nullptr ? "the Alpaca prompt" : "the chat template " + chat_template->name()));
    }
    const data::LoadContext context{tokenizer_.get(),
                                    parts_.base.model->vocab_size(),
                                    !request_.token_logprobs.empty(),
                                    /*num_threads=*/0,
                                    chat_template,
                                    chat_template};
    dataset_ = data::load_dataset("--data", {source_}, options_, context);
    if (dataset_->num_supervised() == 0) {
      data_error("--data", "no document has a supervised token: found " +
                               counted(static_cast<int64_t>(dataset_->examples.size()), "document") + ". Check the labels or completions.");
    }
  }

  const EvalRequest& request_;
  const data::SourceOptions& source_;
  const data::DataOptions& options_;
  const InferenceParts& parts_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  std::string identity_;
  std::optional<data::Dataset> dataset_;
};

void print(const std::vector<Json>& results, bool json) {
  if (json) {
    terminal::print_json(results.size() == 1 ? results.front() : Json{{"results", results}});
  } else {
    terminal::print(result_table(results));
  }
}

/// The file of --token-logprobs, if the flag is given.
std::optional<ResultFile> logprobs_file(const EvalRequest& request) {
  if (request.token_logprobs.empty()) {
    return std::nullopt;
  }
  if (request.inference.adapters.size() > 1 || (request.compare_base && !request.inference.adapters.empty())) {
    config_error("--token-logprobs", "found more than one result to write, expected at most one adapter and no --compare-base");
  }
  return ResultFile(request.token_logprobs, inputs_of(request.inference, {request.source.path, request.chat_template}));
}

/// Throws config Error for flags that have no effect on these rows or this model.
void require_flags_with_effect(const EvalRequest& request, data::RowFormat format, data::TrainOn train_on, bool is_module) {
  if (train_on != data::TrainOn::kCompletion && !data::has_prompt(format)) {
    config_error("--train-on", "has no effect on rows in the format " + request.format +
                                   ": expected prompt_completion, instruction or messages. Leave it out.");
  }
  if (!is_module && (!request.objective.empty() || format == data::RowFormat::kFeatures)) {
    config_error(request.objective.empty() ? "--format" : "--objective",
                 "is only for TorchScript models: found " + (request.objective.empty() ? request.format : request.objective) +
                     " with a Hugging Face model");
  }
}

}  // namespace

int eval_command(const EvalRequest& request) {
  const data::DataOptions options = data_options(request);
  const data::SourceOptions source = source_options(request);
  const bool has_supervised_tokens = train::objective_entry(train::ObjectiveKind::kCausalLm).reads(source.format);
  const bool is_module = model_options(request.inference).is_torchscript();
  require_flags_with_effect(request, source.format, options.train_on, is_module);
  if (is_module && (!has_supervised_tokens || (!request.objective.empty() && request.objective != "causal_lm"))) {
    return evaluate_rows(request, source, options);
  }
  if (source.format == data::RowFormat::kClassification) {
    return evaluate_labels(request, source, options);
  }
  if (!request.predictions.empty()) {
    config_error("--predictions", "is only for models that label rows: found --format " + request.format +
                                      ", expected classification, or a TorchScript model with --objective sequence_classification or "
                                      "regression. For tokens use --token-logprobs.");
  }
  const std::optional<ResultFile> rows = logprobs_file(request);
  const InferenceParts parts = open_inference(request.inference);
  nn::Model& model = *parts.base.model;
  EvalRows evaluated(request, source, options, parts);
  std::vector<Json> results;
  for (const std::string& name : parts.names_to_run(request.compare_base)) {
    const data::Dataset& dataset = evaluated.of(name);
    require_other_file(rows, dataset);
    nn::use_adapter(model, name);
    results.push_back(result_json(name, evaluate(model, dataset, request, rows), dataset, request));
  }
  if (request.compare_base && results.size() > 1) {
    add_changes_from_base(results);
  }
  print(results, request.json);
  return 0;
}

}  // namespace lora::app
