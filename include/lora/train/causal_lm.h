#pragma once
#include <memory>
#include <optional>

#include "lora/data/batch_prefetcher.h"
#include "lora/data/batches.h"
#include "lora/nn/model.h"
#include "lora/ops/linear_cross_entropy.h"
#include "lora/train/objective.h"

namespace lora::train {

struct CausalLmOptions {
  data::BatchOptions train_batches;
  data::BatchOptions eval_batches;
  uint64_t seed = 42;
  std::optional<bool> prefetch;  ///< build the next batch while one is computed; none: where it pays (on CUDA)
  /// Tokens that are computed at once, of whole documents; 0: all of a micro-batch; none: some hundred on the CPU, else all.
  std::optional<int64_t> part_tokens;
};

/// Next-token prediction: cross-entropy of each supervised token given those before it in its document. Logits are
/// computed only where a label is supervised, chunk by chunk.
class CausalLm : public Objective {
 public:
  /// `eval` may be null. The references must outlive the objective.
  CausalLm(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, CausalLmOptions options);

  std::vector<MicroBatch> plan_epoch(int64_t epoch) const override;
  BatchSize size(const MicroBatch& batch) const override;
  std::vector<MicroBatch> parts(const MicroBatch& batch) const override;
  void expect(const std::vector<MicroBatch>& upcoming) const override { train_ahead_->expect(upcoming); }
  at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const override;
  std::string describe(const MicroBatch& batch) const override;
  /// Documents (with packing: bins) of a micro-batch, in place of the options'. Not once training has begun.
  void set_batch_size(int64_t batch_size) { options_.train_batches.batch_size = batch_size; }
  int64_t batch_size() const { return options_.train_batches.batch_size; }
  /// Bytes that the largest of such parts needs from its forward pass to the end of its backward, beside weights and their gradients.
  int64_t training_bytes(const std::vector<BatchSize>& parts, nn::Recompute recompute) const;
  /// Bytes of the largest batch of an evaluation; 0 where there is none.
  int64_t evaluation_bytes() const;
  /// What training passes compute again in backward.
  void set_recompute(nn::Recompute recompute) { recompute_ = recompute; }
  bool has_evaluation() const override { return eval_ != nullptr; }
  EvalResult evaluate() const override;

 private:
  bool has_plain_head() const;
  nn::TokenBatch take(const MicroBatch& batch) const;

  nn::Model& model_;
  const data::Dataset& train_;
  const data::Dataset* eval_;
  CausalLmOptions options_;
  nn::Recompute recompute_ = nn::Recompute::kNothing;
  bool prefetches_;
  int64_t part_tokens_;
  std::unique_ptr<data::BatchPrefetcher> train_ahead_;
};

/// The scores of the supervised positions of a batch, in order, without gradients or dropout.
ops::TokenScores token_scores(nn::Model& model, const nn::TokenBatch& batch);

}  // namespace lora::train
