#include "app/document_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/data/batches.h"
#include "lora/train/causal_lm.h"

namespace lora::app {

namespace {

/// Sets the label of each position to the next token of its document.
void label_every_token(nn::Batch& batch) {
  const at::Tensor labels_T = at::roll(batch.tokens().ids_T, -1);
  for (size_t d = 1; d < batch.layout.host_offsets.size(); ++d) {
    labels_T[batch.layout.host_offsets[d] - 1] = nn::kIgnoreLabel;
  }
  nn::TokenLabels labels(labels_T);
  labels.set_first_labels(batch.tokens().ids_T.index_select(0, batch.layout.offsets.slice(0, 0, -1).to(at::kLong)));
  batch.targets = std::move(labels);
}

/// Whether each document's first token is predicted: it has a label, and an adapter puts virtual tokens before it.
std::vector<bool> predicts_first(const nn::Model& model, const nn::Batch& batch) {
  std::vector<bool> predicts(batch.num_documents(), false);
  const at::Tensor& documents_F = batch.labels().first_documents_F;
  for (int64_t i = 0; model.body->virtual_tokens() > 0 && i < documents_F.numel(); ++i) {
    predicts[documents_F.const_data_ptr<int64_t>()[i]] = true;
  }
  return predicts;
}

std::vector<DocumentScores> score_batch(nn::Model& model, nn::Batch batch, bool every_token) {
  if (every_token) {
    label_every_token(batch);
  }
  const ops::TokenScores scores = train::token_scores(model, batch.to(model.device()));
  const at::Tensor loss_S = scores.loss_S.cpu();
  const at::Tensor correct_S = scores.correct_S.cpu();
  const int64_t* labels = batch.labels().labels_T.const_data_ptr<int64_t>();
  const std::vector<bool> has_first = predicts_first(model, batch);
  std::vector<DocumentScores> documents;
  int64_t next = 0;
  for (size_t d = 0; d + 1 < batch.layout.host_offsets.size(); ++d) {
    const int64_t begin = batch.layout.host_offsets[d];
    const int64_t size = batch.layout.host_offsets[d + 1] - begin;
    DocumentScores document{std::vector<float>(size, std::numeric_limits<float>::quiet_NaN()), std::vector<bool>(size, false)};
    for (int64_t i = 0; i < size; ++i) {
      if (i == 0 ? has_first[d] : labels[begin + i - 1] != nn::kIgnoreLabel) {
        document.losses[i] = loss_S.const_data_ptr<float>()[next];
        document.correct[i] = correct_S.const_data_ptr<bool>()[next++];
      }
    }
    documents.push_back(std::move(document));
  }
  return documents;
}

}  // namespace

void score_documents(nn::Model& model, const data::Dataset& dataset, int64_t batch_size, bool every_token,
                     const std::function<void(size_t index, const DocumentScores& scores)>& take) {
  const size_t count = dataset.examples.size();
  for (size_t begin = 0; begin < count; begin += static_cast<size_t>(batch_size)) {
    throw_if_interrupted();
    const size_t end = std::min(count, begin + static_cast<size_t>(batch_size));
    std::vector<int64_t> filled;  // a document without tokens cannot be in a batch, and has no scores
    for (size_t i = begin; i < end; ++i) {
      if (!dataset.examples[i].ids().empty()) {
        filled.push_back(static_cast<int64_t>(i));
      }
    }
    std::vector<DocumentScores> scores;
    if (!filled.empty()) {
      scores = score_batch(model, data::make_batch(dataset, filled), every_token);
    }
    size_t next = 0;
    for (size_t i = begin; i < end; ++i) {
      take(i, dataset.examples[i].ids().empty() ? DocumentScores() : scores[next++]);
    }
    log::progress("document " + with_thousands(static_cast<int64_t>(end)) + " of " + with_thousands(static_cast<int64_t>(count)));
  }
  log::end_progress();
}

}  // namespace lora::app
