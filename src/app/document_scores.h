#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/model.h"

namespace lora::app {

/// How well the model predicts each token of a document from the tokens before it.
struct DocumentScores {
  std::vector<float> losses;  ///< the negative log-probability of each token; NaN if it was not scored, as the first never is
  std::vector<bool> correct;  ///< whether each token was the most likely one
};

/// Runs the model on the documents in order, `batch_size` at a time, and passes the index and scores of each document to `take`. Scores the
/// supervised tokens, or with `every_token` all but the first token of each document. Throws Interrupted.
void score_documents(nn::Model& model, const data::Dataset& dataset, int64_t batch_size, bool every_token,
                     const std::function<void(size_t index, const DocumentScores& scores)>& take);

}  // namespace lora::app
