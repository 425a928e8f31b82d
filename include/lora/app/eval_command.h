#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lora/app/inference_request.h"
#include "lora/data/options.h"

namespace lora::app {

/// The flags of `lora-eval`.
struct EvalRequest {
  InferenceRequest inference;
  data::SourceOptions source;            ///< --data, --format, --column, --limit
  std::string format;                    ///< --format as given
  std::vector<std::string> columns;      ///< --column FIELD=COLUMN
  std::string objective;                 ///< --objective: what a TorchScript model is given rows whole for; empty: its tokens are scored
  std::string train_on = "completion";   ///< --train-on: which tokens of a prompt and completion count
  std::string chat_template;             ///< --chat-template: of messages and instruction rows; empty: the adapter's or the model's own
  std::string documents = "line";        ///< --documents: what a document of a .txt file is
  bool parse_special_tokens = true;      ///< --no-parse-special-tokens: those in texts are plain text
  int64_t batch_size = 8;                ///< --batch-size: documents
  bool compare_base = false;             ///< --compare-base: the bare model first
  std::filesystem::path token_logprobs;  ///< --token-logprobs; empty: not written
  std::filesystem::path predictions;     ///< --predictions: a row for each row of the data; empty: not written
  bool json = false;                     ///< --json
};

/// Prints loss, perplexity and token accuracy of the model with each adapter (without any: of the bare model) on every
/// document of the data, whole, however long; of labelled rows the metrics of their labels. With --predictions rows need no label, and what
/// the model says of each is written, in their order. Throws what loading throws, and config Error for --token-logprobs or --predictions
/// with more than one result.
int eval_command(const EvalRequest& request);

}  // namespace lora::app
