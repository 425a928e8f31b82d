#pragma once
#include <cstdint>
#include <vector>

#include "lora/nn/batch.h"

namespace lora::test {

/// A document as a data file gives it: labels not shifted; empty: every token is supervised.
struct Document {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  int64_t sample_id = 0;
  int64_t second_text = 0;  ///< where the second of two texts begins; 0: there is one
};

inline nn::Batch batch_of(const std::vector<Document>& documents) {
  std::vector<nn::DocumentView> views;
  for (const Document& document : documents) {
    views.push_back({&document.ids, document.labels.empty() ? &document.ids : &document.labels, document.sample_id, /*cached_length=*/0,
                     document.second_text});
  }
  return nn::make_token_batch(views);
}

/// Documents of these lengths with tokens that vary, numbered from 0.
inline std::vector<Document> documents_of(const std::vector<int64_t>& lengths, int32_t vocabulary) {
  std::vector<Document> documents;
  int32_t token = 7;
  for (size_t d = 0; d < lengths.size(); ++d) {
    documents.push_back({{}, {}, static_cast<int64_t>(d)});
    for (int64_t i = 0; i < lengths[d]; ++i) {
      token = (token * 31 + 17) % vocabulary;
      documents.back().ids.push_back(token);
    }
  }
  return documents;
}

}  // namespace lora::test
