#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/merge_model.h"
#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/data/labels.h"
#include "lora/models/base_model.h"
#include "lora/peft/options.h"
#include "lora/train/options.h"

namespace lora::diffusion {
class TrainingSchedule;
}

namespace lora::app {

/// What a base model is opened for.
struct BaseRequest {
  const models::ModelOptions& model;
  train::ObjectiveKind objective = train::ObjectiveKind::kCausalLm;
  uint64_t seed = 0;
  bool is_trained = false;
  std::optional<int64_t> num_labels = std::nullopt;  ///< of a head that scores documents; none: as many as the stored one has
  const data::Dataset* rows = nullptr;               ///< the rows that a module is opened for, and more of them, or null
  const data::Dataset* more_rows = nullptr;
};

/// Rows whose labels need a meaning.
struct LabelledRows {
  data::Dataset& first;
  data::Dataset* second;  ///< a set with the same labels, or null
  train::ObjectiveKind objective;
  std::optional<data::LabelSet> known;  ///< by an adapter or the model
  bool need_labels = true;              ///< whether each row must have one
};

/// A kind of base model and its use: a line of the table in backend.cpp. What a config may not combine with it is in the table of
/// config/exclusions.cpp. A null function: there is nothing to do.
struct Backend {
  bool is_module;        ///< a TorchScript module: its layers and maximum length are not known, and it keeps its own dtypes
  bool predicts_tokens;  ///< otherwise something about each row: its label, its values or its loss
  bool removes_noise = false;  ///< the network of a text-to-image pipeline
  bool has_head = false;  ///< adapters have PEFT's task SEQ_CLS, and labels are those of the adapter or of the stored head
  /// Whether the rows of a run determine how the model is opened: their labels are the outputs of its head, or the module is checked on
  /// them.
  bool is_opened_for_rows = false;

  models::BaseModel (*open)(const BaseRequest& request);
  /// The size of the vocabulary of a model that is opened for rows; none: not known, so that the rows may have any ids.
  std::optional<int64_t> (*vocab_size)(const models::ModelOptions& model) = nullptr;
  /// The labels that a run starts from.
  std::optional<data::LabelSet> (*known_labels)(const config::RunConfig& config) = nullptr;
  /// The labels common to these adapters. Throws config Error if they differ.
  std::optional<data::LabelSet> (*adapter_labels)(const std::vector<std::filesystem::path>& adapters,
                                                  const std::filesystem::path& model) = nullptr;
  /// Numbers the rows' labels before the model is opened, and returns their meaning, as far as it is known then.
  std::optional<data::LabelSet> (*label_rows)(const LabelledRows& rows) = nullptr;
  /// The same after the model is opened, if it determines them. `rows.known` is the result of label_rows, and the result for other rows.
  std::optional<data::LabelSet> (*label_opened)(const LabelledRows& rows, const nn::Model& model) = nullptr;
  /// An adapter's options with what its task adds. `created`: as in models::BaseModel.
  peft::MethodOptions (*adapter_options)(peft::MethodOptions options, const std::vector<std::string>& created) = nullptr;
  /// The schedule of the noise that the model removes. `zero_snr` replaces rescale_betas_zero_snr in its config.
  std::shared_ptr<const diffusion::TrainingSchedule> (*schedule)(const models::ModelOptions& model, std::optional<bool> zero_snr) = nullptr;
  /// A line that tells what can be done with the result of a run.
  std::string (*next_step)(const config::RunConfig& config);
  decltype(&merge_model) merge;
};

/// The line of a model for an objective. Programs that need no objective use the model to predict tokens.
const Backend& backend_of(const models::ModelOptions& model, train::ObjectiveKind objective = train::ObjectiveKind::kCausalLm);

}  // namespace lora::app
