#pragma once
#include <memory>
#include <optional>
#include <string>

#include "app/inference.h"
#include "app/temporary_folder.h"
#include "lora/app/eval_command.h"
#include "lora/data/dataset.h"

namespace lora::app {

/// What lora-eval reads.
struct EvalSource {
  const EvalRequest& request;
  data::DataOptions options;
  data::SourceOptions source;
};

/// Reads the rows that a TorchScript module is opened for: before its vocabulary is known, with the template of the first adapter.
data::Dataset load_module_rows(const EvalSource& from, const models::ModelOptions& model);

/// Reads rows of the classification format, with labels as the model numbers them.
data::Dataset load_labelled_rows(const EvalSource& from, const InferenceParts& parts);

/// Documents whose tokens are predicted, or images, for each adapter: adapters with different chat templates need different token ids.
class EvalDocuments {
 public:
  /// The references must outlive the object.
  EvalDocuments(const EvalSource& from, const InferenceParts& parts);

  /// The base model ("") gets the same text as the first adapter, so that the two can be compared. Throws data Error if no token is
  /// supervised.
  const data::Dataset& of(const std::string& adapter);

 private:
  void load(const tokenizer::ChatTemplate* chat_template);

  const EvalSource& from_;
  const InferenceParts& parts_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  std::string identity_;
  std::optional<TemporaryFolder> encoded_;  ///< what the rows are encoded to, if the request has no place for it
  std::optional<data::Dataset> dataset_;
};

}  // namespace lora::app
