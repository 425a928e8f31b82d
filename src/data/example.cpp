#include <algorithm>

#include "lora/data/dataset.h"
#include "lora/nn/token_batch.h"

namespace lora::data {

int64_t Example::num_supervised() const {
  return labels.empty() ? 0 : std::count_if(labels.begin() + 1, labels.end(), [](int32_t label) { return label != nn::kIgnoreLabel; });
}

int64_t Dataset::num_tokens() const {
  int64_t count = 0;
  for (const Example& example : examples) {
    count += static_cast<int64_t>(example.ids.size());
  }
  return count;
}

int64_t Dataset::num_supervised() const {
  int64_t count = 0;
  for (const Example& example : examples) {
    count += example.num_supervised();
  }
  return count;
}

}  // namespace lora::data
