#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "lora/data/dataset.h"
#include "lora/nn/model.h"

namespace lora::app {

/// How well each token of a document was predicted from those before it.
struct DocumentScores {
  std::vector<float> losses;  ///< one a token: minus its log-probability; NaN where it was not scored, as the first
  std::vector<bool> correct;  ///< it was the likeliest
};

/// Runs the model over the documents, `batch_size` at a time, in order, and gives each one's scores to `take` with its
/// index. Scored are the supervised tokens, or with `every_token` all but a document's first. Throws Interrupted.
void score_documents(nn::Model& model, const data::Dataset& dataset, int64_t batch_size, bool every_token,
                     const std::function<void(size_t index, const DocumentScores& scores)>& take);

}  // namespace lora::app
