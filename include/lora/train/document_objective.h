#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/data/batch_prefetcher.h"
#include "lora/data/batches.h"
#include "lora/nn/batch_room.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"

namespace lora::train {

struct DocumentObjectiveOptions {
  data::BatchOptions train_batches;
  data::BatchOptions eval_batches;
  uint64_t seed = 42;
  std::optional<bool> prefetch;  ///< build the next batch while one is computed; none: only on CUDA, where it pays
  /// Tokens of whole documents that are computed at once; 0: a whole micro-batch; none: some hundred on the CPU, elsewhere a micro-batch.
  std::optional<int64_t> part_tokens;
};

/// The common part of objectives on documents: which documents are in which micro-batch, and micro-batches as batches. A derived
/// objective adds its loss and its evaluation.
class DocumentObjective : public Objective {
 public:
  /// `eval` may be null. The references must outlive the objective.
  DocumentObjective(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, const DocumentObjectiveOptions& options);

  std::vector<MicroBatch> plan_epoch(int64_t epoch) const override;
  BatchSize size(const MicroBatch& batch) const override;
  std::vector<MicroBatch> parts(const MicroBatch& batch) const override;
  void set_batch_size(int64_t batch_size) override { options_.train_batches.batch_size = batch_size; }
  int64_t batch_size() const override { return options_.train_batches.batch_size; }
  void set_recompute(nn::Recompute recompute) override { recompute_ = recompute; }
  void expect(const std::vector<MicroBatch>& upcoming) const override { train_ahead_->expect(upcoming); }
  std::string describe(const MicroBatch& batch) const override;
  void set_side_by_side(bool is_allowed) override { side_by_side_ = is_allowed; }
  bool runs_alongside_others(const MicroBatch& part) const override;
  bool has_evaluation() const override { return eval_ != nullptr; }
  int64_t training_bytes(const std::vector<BatchSize>& at_once, nn::Recompute recompute) const override;
  int64_t evaluation_bytes() const override;

 protected:
  /// Bytes of a part's loss, from the hidden states to their gradient; in an evaluation, to the recorded results.
  virtual int64_t loss_bytes(const BatchSize& size) const = 0;
  virtual int64_t evaluation_loss_bytes(const BatchSize& size) const = 0;
  /// Number of tokens whose hidden states the loss needs.
  virtual int64_t num_needed(const BatchSize& size) const { return size.input; }
  nn::Model& model() const { return model_; }
  const data::Dataset& eval_set() const { return *eval_; }
  /// The capacity that a micro-batch of the training set needs.
  nn::BatchRoom room_for(const MicroBatch& batch) const;
  /// A micro-batch's documents, on the model's device.
  nn::Batch take(const MicroBatch& batch) const;
  /// A training pass over the batch, which must outlive it.
  nn::Pass training_pass(const nn::Batch& tokens, int64_t step) const;
  /// Calls `add` with every batch of the evaluation set. Throws Interrupted when a signal arrives.
  void for_each_eval_batch(const std::function<void(const nn::Batch& tokens)>& add) const;

 private:
  bool has_lanes() const;

  nn::Model& model_;
  const data::Dataset& train_;
  const data::Dataset* eval_;
  DocumentObjectiveOptions options_;
  nn::Recompute recompute_ = nn::Recompute::kNothing;
  bool side_by_side_ = false;
  bool prefetches_;
  int64_t part_tokens_;
  std::unique_ptr<data::BatchPrefetcher> train_ahead_;
};

}  // namespace lora::train
