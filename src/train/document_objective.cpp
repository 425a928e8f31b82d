#include "lora/train/document_objective.h"

#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/data/batch_prefetcher.h"

namespace lora::train {

BatchSize DocumentObjective::size(const MicroBatch& batch) const {
  BatchSize size = size_of(parts_.train, batch);
  if (model().body->virtual_tokens() > 0) {
    for (const int64_t index : batch) {
      size.supervised += parts_.train.examples[index].num_first_supervised();
    }
  }
  return size;
}

std::string DocumentObjective::describe(const MicroBatch& batch) const {
  return origins_of(parts_.train, batch);
}

void DocumentObjective::for_each_eval_batch(const std::function<void(const nn::Batch& tokens)>& add) const {
  const std::vector<MicroBatch> batches = data::plan_epoch(eval_set(), parts_.eval_batches, 0);
  const at::Device device = model().device();
  data::BatchPrefetcher ahead(eval_set(), device, /*ahead=*/device.is_cuda());
  ahead.expect(batches);
  for (const MicroBatch& batch : batches) {
    throw_if_interrupted();
    add(ahead.take(batch));
  }
}

BatchSize size_of(const data::Dataset& dataset, const MicroBatch& batch) {
  BatchSize size;
  for (const int64_t index : batch) {
    size.supervised += dataset.examples[index].num_supervised();
    size.input += dataset.examples[index].num_tokens();
    size.documents += static_cast<int64_t>(dataset.examples[index].num_documents());
  }
  return size;
}

std::string origins_of(const data::Dataset& dataset, const MicroBatch& batch) {
  std::vector<std::string> origins;
  for (const int64_t index : batch) {
    origins.push_back(dataset.examples[index].origin.text());
  }
  return join(origins, ", ", 4);
}

}  // namespace lora::train
