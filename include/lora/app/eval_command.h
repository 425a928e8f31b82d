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
  std::string format;                    ///< --format, as given
  std::vector<std::string> columns;      ///< --column FIELD=COLUMN
  std::string objective;                 ///< --objective of a TorchScript model that takes whole rows; empty: tokens are scored
  std::string train_on = "completion";   ///< --train-on: which tokens of a prompt and completion are scored
  std::string chat_template;             ///< --chat-template for messages and instruction rows; empty: the adapter's or the model's
  std::string documents = "line";        ///< --documents: the unit of a .txt file that is one document
  bool parse_special_tokens = true;      ///< --no-parse-special-tokens: special tokens in texts are plain text
  int64_t batch_size = 8;                ///< --batch-size: documents per batch
  bool compare_base = false;             ///< --compare-base: also evaluate the base model, first
  std::filesystem::path token_logprobs;  ///< --token-logprobs; empty: not written
  std::filesystem::path predictions;     ///< --predictions: one row for each row of the data; empty: not written
  int64_t resolution = 0;                ///< --resolution: images are resized to the area of a square with this side; 0: the model's
  std::filesystem::path cache_dir;       ///< --cache-dir: keeps encoded images and captions; empty: a temporary folder
  bool json = false;                     ///< --json
};

/// Evaluates the model with each adapter (the base model without any) on the data, and prints loss, perplexity and token accuracy, or for
/// labelled rows the metrics of the labels. Documents are never truncated. With --predictions rows need no label, and the prediction for
/// each row is written, in order. Throws what loading throws, and config Error for --token-logprobs or --predictions with more than one
/// result.
int eval_command(const EvalRequest& request);

}  // namespace lora::app
