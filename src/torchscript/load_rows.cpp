#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/io/dtype_name.h"
#include "lora/nn/given_scores.h"
#include "lora/torchscript/load.h"
#include "torchscript/open.h"
#include "torchscript/row_checks.h"

namespace lora::torchscript {

namespace {

/// Throws data Error with file:line for a row with an id that is not below `vocab_size`. `where` names the module.
void require_ids(const data::Dataset& rows, int64_t vocab_size, const std::string& where) {
  for (const data::Example& row : rows.examples) {
    const auto largest = std::max_element(row.ids().begin(), row.ids().end());
    if (largest != row.ids().end() && *largest >= vocab_size) {
      data_error(row.origin.text(), "an id is not in the tables of " + where + ": found " + std::to_string(*largest) + ", expected 0 to " +
                                        std::to_string(vocab_size - 1) + ". Likely cause: the tokenizer of another model.");
    }
  }
}

float in_dtype(float value, at::ScalarType dtype) {
  return dtype == at::kHalf       ? static_cast<float>(static_cast<at::Half>(value))
         : dtype == at::kBFloat16 ? static_cast<float>(static_cast<at::BFloat16>(value))
                                  : value;
}

/// Features are converted to the dtype of the module's weights. Throws data Error with file:line for one that becomes infinite; warns of a
/// whole number that changes, because it may be the number of a category.
void require_features(const data::Dataset& rows, at::ScalarType dtype) {
  std::string first;
  for (const data::Example& row : rows.examples) {
    for (const float feature : row.features() != nullptr ? row.features()->features : std::vector<float>()) {
      const float given = in_dtype(feature, dtype);
      if (!std::isfinite(given)) {
        data_error(row.origin.text(), "a feature is too large for the module's dtype: found " + shown(Json(feature)) +
                                          ", expected a value in the range of " + io::dtype_name(dtype) +
                                          ". Scale it, or use model.dtype float32.");
      }
      if (first.empty() && given != feature && std::floor(feature) == feature) {
        first = "[" + row.origin.text() + "] a whole number among the features changes in the module's dtype: " + shown(Json(feature)) +
                " becomes " + shown(Json(given)) + " in " + io::dtype_name(dtype);
      }
    }
  }
  if (!first.empty()) {
    log::warn(first + ". If it is the number of a category or an index, use model.dtype float32.");
  }
}

/// Checks that either all rows have what the module takes or none, because they are batched.
class Loader {
 public:
  Loader(const models::ModelOptions& options, const data::Dataset& rows, const data::Dataset* second, bool gives_loss)
      : options_(options), rows_(rows), gives_loss_(gives_loss) {
    sets_ = second != nullptr ? std::vector<const data::Dataset*>{&rows, second} : std::vector<const data::Dataset*>{&rows};
  }

  std::unique_ptr<nn::Model> open(at::Device device) const {
    const RowKind kind = rows_.examples.front().features() != nullptr ? RowKind::kFeatures : RowKind::kDocuments;
    const std::string output = options_.output.value_or(gives_loss_ ? kLoss : kLogits);
    auto network = std::make_unique<ScriptRowModel>(open_network(options_, output, device),
                                                    options_.inputs.value_or(std::vector<std::string>()), kind, output, gives_loss_);
    int64_t longest = 0;
    for (const data::Dataset* rows : sets_) {
      require_targets(*network, *rows);
      require_ids(*rows, network->vocab_size(), options_.path.string());
      require_features(*rows, network->dtype());
      longest = std::max(longest, rows->examples[static_cast<size_t>(rows->longest())].num_tokens());
    }
    require_sound_rows(*network, rows_, longest);
    auto model = std::make_unique<nn::Model>();
    model->documents = gives_loss_ ? nullptr : std::make_unique<nn::GivenScores>();
    model->body = std::move(network);
    return model;
  }

 private:
  /// Labels of documents are those of their tokens if no row has its own label.
  void require_targets(const ScriptRowModel& model, const data::Dataset& rows) const {
    const auto has_target = [](const data::Example& row) { return row.features() != nullptr || row.has_target(); };
    const auto has_targets = [&](const data::Dataset* set) { return std::any_of(set->examples.begin(), set->examples.end(), has_target); };
    for (const char* field : {"target", "labels"}) {
      const bool is_of_rows = std::string(field) == "target" || std::any_of(sets_.begin(), sets_.end(), has_targets);
      if (model.fields().has(field) && is_of_rows) {
        data::require_targets(rows, std::string("for the module's argument '") + field + "'");
      }
    }
  }

  const models::ModelOptions& options_;
  const data::Dataset& rows_;
  bool gives_loss_;
  std::vector<const data::Dataset*> sets_;
};

}  // namespace

models::BaseModel load_row_model(const models::ModelOptions& options, const data::Dataset& rows, bool gives_loss,
                                 const data::Dataset* second) {
  const Loader loader(options, rows, second, gives_loss);
  return load_by(options, [&loader](at::Device device) { return loader.open(device); });
}

}  // namespace lora::torchscript
