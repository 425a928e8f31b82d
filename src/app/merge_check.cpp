#include "app/merge_check.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "app/backend.h"
#include "app/flag_value.h"
#include "app/inference.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/random.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/data/dataset.h"
#include "lora/nn/adapters.h"
#include "lora/nn/pass.h"
#include "lora/peft/task.h"

namespace lora::app {

namespace {

using at::Tensor;
using Documents = std::vector<std::vector<int32_t>>;

/// How much rounding may change the logits, as a fraction of the largest. Merged weights are rounded and, in half precision, so is
/// every activation, differently in the two models.
struct Precision {
  at::ScalarType dtype;
  const char* name;
  double tolerance;
};
constexpr std::array<Precision, 3> kPrecisions{
    {{at::kFloat, "float32", 1e-4}, {at::kHalf, "float16", 0.02}, {at::kBFloat16, "bfloat16", 0.1}}};

const Precision& precision_of(at::ScalarType dtype) {
  for (const Precision& precision : kPrecisions) {
    if (precision.dtype == dtype) {
      return precision;
    }
  }
  return kPrecisions.front();
}

/// Few enough that all logits take at most a few hundred MB for a large vocabulary.
constexpr size_t kMaxDocuments = 8;
constexpr int64_t kMaxLength = 64;

/// @param is_short for a TorchScript module, whose maximum length is not known.
Documents random_documents(int64_t vocab_size, bool is_short) {
  CounterRandom random(hash_name("lora-merge --verify"));
  Documents documents;
  const std::vector<int64_t> lengths = is_short ? std::vector<int64_t>{16, 11, 5} : std::vector<int64_t>{kMaxLength, 37, 16, 5};
  for (const int64_t length : lengths) {
    documents.emplace_back();
    for (int64_t i = 0; i < length; ++i) {
      documents.back().push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocab_size))));
    }
  }
  return documents;
}

Documents read_documents(const MergeRequest& request, const InferenceParts& parts) {
  data::DataOptions options;
  options.max_length = kMaxLength;
  data::SourceOptions source;
  source.path = request.data;
  source.limit = static_cast<int64_t>(kMaxDocuments);
  source.format = flag_value(data::kRowFormats, request.format, "--format");
  source.documents = flag_value(data::kTextDocuments, request.documents, "--documents");
  const auto tokenizer = parts.tokenizer_for(source.format);
  const std::string adapter = parts.adapters.empty() ? "" : parts.adapters.front().name;
  const auto chat_template = row_template(source.format, parts.template_choice(adapter, ""), parts.options, tokenizer.get());
  const data::LoadContext context{tokenizer.get(),
                                  parts.base.model->vocab_size(),
                                  /*keep_unsupervised=*/true,
                                  /*num_threads=*/0,
                                  chat_template.get(),
                                  chat_template.get()};
  Documents documents;
  for (const data::Example& example : data::load_dataset("--data", {source}, options, context).examples) {
    for (size_t document = 0; document < example.num_documents(); ++document) {
      if (!example.ids(document).empty()) {
        documents.push_back(example.ids(document));
      }
    }
  }
  if (documents.empty()) {
    data_error("--data", "found no document with a token, expected at least one");
  }
  return documents;
}

/// float32 on the CPU: [T, V] for the documents end to end, or one row per document for a model that scores documents.
Tensor logits_of(nn::Model& model, const Documents& documents) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> logits;
  for (const std::vector<int32_t>& ids : documents) {
    throw_if_interrupted();
    const nn::Batch batch = nn::make_token_batch({{&ids, nullptr, 0}}).to(model.device());
    const nn::Pass pass = nn::evaluation_pass(batch);
    const Tensor own =
        model.documents != nullptr ? model.documents->scores(*model.body, pass) : model.tokens->logits(model.body->hidden(pass), pass);
    logits.push_back(own.to(at::kFloat).cpu());
  }
  return at::cat(logits);
}

bool scores_documents(const MergeRequest& request) {
  return std::any_of(request.adapters.begin(), request.adapters.end(),
                     [](const std::string& folder) { return peft::is_sequence_classification(*config::read_adapter_folder(folder)); });
}

/// The mean over tokens of Σ p log(p / q).
double mean_divergence(const Tensor& p_logits_TV, const Tensor& q_logits_TV) {
  double sum = 0;
  for (int64_t t = 0; t < p_logits_TV.size(0); ++t) {
    const Tensor p = at::log_softmax(p_logits_TV[t].to(at::kDouble), 0);
    const Tensor q = at::log_softmax(q_logits_TV[t].to(at::kDouble), 0);
    sum += (p.exp() * (p - q)).sum().item<double>();
  }
  return sum / static_cast<double>(p_logits_TV.size(0));
}

std::string number_text(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g", value);
  return text.data();
}

/// The two sides of the comparison, opened one after the other so that only one model is in memory at a time.
class WeightComparison {
 public:
  WeightComparison(const MergeRequest& request, const std::filesystem::path& result) : request_(request) {
    const InferenceParts parts = open(result.string(), /*with_adapters=*/request.unmerge, "auto", std::nullopt);
    precision_ = precision_of(parts.base.model->dtype());
    const bool is_module = backend_of(parts.options).is_module;
    dtype_ = is_module ? "auto" : precision_.name;
    documents_ = request.data.empty() ? random_documents(parts.base.model->vocab_size(), is_module) : read_documents(request, parts);
    result_logits_ = logits_of(*parts.base.model, documents_);
  }

  void run(const ComparedBase& base) {
    require_close(base_logits(base.merged_into));
    if (base.trained_on) {
      const Tensor expected = base_logits(base.trained_on);
      terminal::print("compared with the quantised base of the training: " + figures(expected) + "\n");
    }
  }

 private:
  InferenceParts open(const std::string& model, bool with_adapters, const std::string& dtype,
                      const std::optional<models::Quantization>& quantization) const {
    InferenceRequest inference;
    inference.model = model;
    inference.dtype = dtype;
    inference.quantization = quantization;
    inference.device = request_.device;
    inference.allow_other_base = request_.allow_other_base || request_.unmerge;
    inference.surroundings = request_.surroundings;
    inference.trust_torchscript = request_.trust_torchscript;
    inference.inputs = request_.inputs;
    inference.output = request_.output_field;
    for (size_t i = 0; with_adapters && i < request_.adapters.size(); ++i) {
      inference.adapters.push_back(std::to_string(i) + "=" + request_.adapters[i]);
    }
    const bool is_classifier = scores_documents(request_) && !backend_of(model_options(inference)).is_module;
    InferenceParts parts = open_inference(
        inference, is_classifier ? train::ObjectiveKind::kSequenceClassification : train::ObjectiveKind::kCausalLm);
    for (size_t i = 0; with_adapters && i < request_.weights.size(); ++i) {
      nn::scale_adapter(*parts.base.model, std::to_string(i), request_.weights[i]);
    }
    return parts;
  }

  /// Of the other model, with the adapters that the result contains.
  Tensor base_logits(const std::optional<models::Quantization>& quantization) const {
    const InferenceParts parts = open(request_.model, /*with_adapters=*/!request_.unmerge, dtype_, quantization);
    if (!parts.labels && parts.base.model->vocab_size() != result_logits_.size(1)) {
      model_error("--verify", "the two models have different vocabularies");
    }
    return logits_of(*parts.base.model, documents_);
  }

  double largest_difference(const Tensor& expected) const { return (result_logits_ - expected).abs().max().item<double>(); }

  /// @param limit follows the difference in the text.
  std::string figures(const Tensor& expected, const std::string& limit = "") const {
    const double difference = largest_difference(expected);
    return "largest logit difference " + number_text(difference) + ", " + number_text(difference / expected.abs().max().item<double>()) +
           " of the largest logit" + limit + "; mean KL " + number_text(mean_divergence(expected, result_logits_)) + "; " +
           with_thousands(expected.size(0)) + " tokens, " + precision_.name;
  }

  void require_close(const Tensor& expected) const {
    const double tolerance = request_.tolerance.value_or(precision_.tolerance);
    const std::string found = figures(expected, " (tolerance " + number_text(tolerance) + ")");
    // Written so that NaN fails too.
    if (!(largest_difference(expected) <= tolerance * expected.abs().max().item<double>())) {
      model_error("--verify", "the merged model differs from the base with its adapters: " + found + ". Nothing was written.");
    }
    terminal::print("verified: " + found + "\n");
  }

  const MergeRequest& request_;
  Precision precision_{};
  std::string dtype_;  ///< for the other model
  Documents documents_;
  Tensor result_logits_;
};

}  // namespace

void require_equal_merge(const MergeRequest& request, const std::filesystem::path& result, const ComparedBase& base) {
  WeightComparison(request, result).run(base);
}

}  // namespace lora::app
