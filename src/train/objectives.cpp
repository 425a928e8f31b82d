#include "lora/train/objectives.h"

#include <algorithm>
#include <array>

#include "lora/train/causal_lm.h"
#include "lora/train/denoising.h"
#include "lora/train/module_loss.h"
#include "lora/train/regression.h"
#include "lora/train/sequence_classification.h"

namespace lora::train {

namespace {

template <typename Type>
std::unique_ptr<Objective> make(const ObjectiveParts& parts) {
  return std::make_unique<Type>(parts);
}

bool has_labelled_rows(data::RowFormat format) {
  return data::has_one_label(format);
}

bool has_supervised_tokens(data::RowFormat format) {
  return data::facts_of(format).content == data::RowContent::kDocuments;
}

bool has_single_documents(data::RowFormat format) {
  const data::RowContent content = data::facts_of(format).content;
  return content != data::RowContent::kGroups && content != data::RowContent::kImages;
}

bool has_images(data::RowFormat format) {
  return data::facts_of(format).content == data::RowContent::kImages;
}

constexpr EvalMetric kLoss[] = {{"eval_loss", false}};
constexpr EvalMetric kTokenMetrics[] = {{"eval_loss", false}, {"eval_perplexity", false}};
constexpr EvalMetric kLabelMetrics[] = {{"eval_loss", false},
                                        {"eval_accuracy", true},
                                        {"eval_f1", true},
                                        {"eval_matthews_correlation", true},
                                        {"eval_pearson", true},
                                        {"eval_spearmanr", true}};
constexpr EvalMetric kValueMetrics[] = {{"eval_loss", false}, {"eval_pearson", true}, {"eval_spearmanr", true}};

constexpr EvalMetric kNoiseMetrics[] = {{"eval_loss", false},
                                        {"eval_loss_quarter_1", false},
                                        {"eval_loss_quarter_2", false},
                                        {"eval_loss_quarter_3", false},
                                        {"eval_loss_quarter_4", false}};

/// All objectives.
constexpr std::array<ObjectiveEntry, 5> kObjectives{{
    {.kind = ObjectiveKind::kCausalLm,
     .reads = has_supervised_tokens,
     .labels_documents = false,
     .needs_module = false,
     .removes_noise = false,
     .records_passes = true,
     .metrics = kTokenMetrics,
     .make = make<CausalLm>},
    {.kind = ObjectiveKind::kSequenceClassification,
     .reads = has_labelled_rows,
     .labels_documents = true,
     .needs_module = false,
     .removes_noise = false,
     .records_passes = false,
     .metrics = kLabelMetrics,
     .make = make<SequenceClassification>},
    {.kind = ObjectiveKind::kRegression,
     .reads = has_labelled_rows,
     .labels_documents = true,
     .needs_module = true,
     .removes_noise = false,
     .records_passes = false,
     .metrics = kValueMetrics,
     .make = make<Regression>},
    {.kind = ObjectiveKind::kModuleLoss,
     .reads = has_single_documents,
     .labels_documents = false,
     .needs_module = true,
     .removes_noise = false,
     .records_passes = false,
     .metrics = kLoss,
     .make = make<ModuleLoss>},
    {.kind = ObjectiveKind::kDenoising,
     .reads = has_images,
     .labels_documents = false,
     .needs_module = false,
     .removes_noise = true,
     .records_passes = false,
     .metrics = kNoiseMetrics,
     .make = make<Denoising>},
}};

}  // namespace

const ObjectiveEntry& objective_entry(ObjectiveKind kind) {
  return *std::find_if(kObjectives.begin(), kObjectives.end(), [kind](const ObjectiveEntry& entry) { return entry.kind == kind; });
}

std::vector<std::string> formats_of(ObjectiveKind kind) {
  std::vector<std::string> names;
  for (const auto& entry : data::kRowFormats.entries) {
    if (objective_entry(kind).reads(entry.value)) {
      names.emplace_back(entry.name);
    }
  }
  return names;
}

std::vector<EvalMetric> eval_metrics() {
  std::vector<EvalMetric> all;
  for (const ObjectiveEntry& entry : kObjectives) {
    for (const EvalMetric& metric : entry.metrics) {
      const auto is_same = [&metric](const EvalMetric& known) { return known.name == metric.name; };
      if (std::none_of(all.begin(), all.end(), is_same)) {
        all.push_back(metric);
      }
    }
  }
  return all;
}

bool greater_is_better(std::string_view metric) {
  const std::vector<EvalMetric> all = eval_metrics();
  const auto found = std::find_if(all.begin(), all.end(), [&](const EvalMetric& entry) { return entry.name == metric; });
  return found != all.end() && found->greater_is_better;
}

}  // namespace lora::train
