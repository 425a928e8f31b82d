#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/data/row_survey.h"
#include "lora/tokenizer/chat_template.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

/// What --init knows about the base model, without loading its weights.
struct ModelFacts {
  models::ModelOptions options;
  std::string model_type;
  std::string dtype;
  int64_t num_parameters = 0;
  int64_t vocab_size = 0;
  std::optional<int64_t> max_positions;             ///< the longest document; none: config.json gives no limit
  bool predicts_tokens = false;                     ///< it has a head over the vocabulary
  std::vector<std::string> linear;                  ///< last parts of the names of its linear modules, without the heads
  std::vector<std::string> family_targets;          ///< PEFT's default target modules; empty: it has none
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;  ///< null: there is none
  bool has_template = false;                        ///< a chat template of its own
  std::exception_ptr template_error;                ///< why its own chat template cannot be used; rows that need none do not mind
};

/// What --init knows about the rows.
struct RowFacts {
  data::RowSurvey survey;
  int64_t num_encoded = 0;                   ///< the first rows, whose lengths are known
  std::vector<int64_t> lengths;              ///< in tokens, ascending
  std::optional<std::string> chat_template;  ///< the built-in template chosen for messages of a model without one
  bool are_messages = false;                 ///< of format messages, or pairs of prompt and completion as messages
  bool template_fits = true;                 ///< the tokenizer has all control tokens of that template
  data::LabelKind label_kind = data::LabelKind::kNone;
  std::optional<int64_t> num_labels;  ///< of classes; none: there are none, or not all rows were read
  std::vector<std::string> unused_columns;

  bool has_labels() const { return survey.format == data::RowFormat::kClassification; }
  /// The length that a share of the documents does not exceed.
  int64_t length_at(double share) const;
  /// Documents longer than this.
  int64_t num_longer(int64_t length) const;
};

/// Throws model Error, as training does, for a folder that is no model; config Error for a TorchScript file.
ModelFacts read_model_facts(const std::string& name, const config::Surroundings& surroundings);

/// Counts the rows and encodes the first of them as training does. Throws what training would throw for them.
RowFacts read_row_facts(const std::string& path, const ModelFacts& model);

}  // namespace lora::app
