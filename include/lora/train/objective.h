#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/nn/pass.h"

namespace lora::nn {
class DeviceGraph;
}

namespace lora::train {

/// The examples of one forward and backward pass, by their index in the training set.
using MicroBatch = std::vector<int64_t>;

struct BatchSize {
  int64_t supervised = 0;  ///< what the loss is divided by: the number of supervised tokens, documents or rows
  int64_t input = 0;       ///< input tokens, or rows of features
  int64_t lanes = 1;       ///< equal parts that are computed side by side (Objective::sizes_at_once)
};

struct EvalResult {
  double loss = 0;  ///< mean over everything supervised of the evaluation set
  int64_t num_supervised = 0;
  const char* supervised_name = "eval_num_tokens";      ///< what metrics.jsonl calls their number
  std::vector<std::pair<std::string, double>> metrics;  ///< beside eval_loss, by their names there; one that has no value is NaN
};

/// How many parts are computed side by side where they are (Objective::runs_beside_others).
inline constexpr int64_t kLanes = 2;

/// One kind of example and its loss: all that the trainer sees of model and data. Each objective builds its own batch
/// type from the indices.
class Objective {
 public:
  virtual ~Objective() = default;

  /// The micro-batches of an epoch, in order: a pure function of (seed, epoch).
  virtual std::vector<MicroBatch> plan_epoch(int64_t epoch) const = 0;
  virtual BatchSize size(const MicroBatch& batch) const = 0;
  /// A micro-batch in the parts that are computed one after the other, or side by side; the step stays the same step, as its loss is a sum
  /// over examples.
  virtual std::vector<MicroBatch> parts(const MicroBatch& batch) const { return {batch}; }
  /// Lets small parts be computed side by side (runs_beside_others), if the objective can: each needs memory of its own.
  virtual void set_side_by_side(bool is_allowed) {}
  /// Whether a part is computed beside others of its step, kLanes at once, and not alone on all threads. loss_sum then runs on several
  /// threads.
  virtual bool runs_beside_others(const MicroBatch& part) const { return false; }
  /// What is computed at once of a step's parts: each, but of those that run beside each other the largest kLanes as one.
  std::vector<BatchSize> sizes_at_once(const std::vector<MicroBatch>& parts) const;
  /// Documents (with packing: bins) of a micro-batch, in place of the config's. Not once training has begun.
  virtual void set_batch_size(int64_t batch_size) = 0;
  virtual int64_t batch_size() const = 0;
  /// What training passes compute again in backward, where the objective has a model that can.
  virtual void set_recompute(nn::Recompute recompute) {}
  /// What loss_sum will be asked for next, in this order, so that it can be got ready meanwhile. A hint: it may come
  /// otherwise.
  virtual void expect(const std::vector<MicroBatch>& upcoming) const {}
  /// Sum (not mean) of the losses of a micro-batch, differentiable, float32 scalar. `step` keys what is random.
  virtual at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const = 0;
  /// Adds the gradients of `scale` times the loss of a micro-batch to those there are; its loss, a float64 scalar on the device.
  virtual at::Tensor add_gradients(const MicroBatch& batch, int64_t step, double scale);
  /// Has add_gradients record its passes in graphs. `trained` outlives this. Throws config Error for an objective that cannot.
  virtual void use_graphs(const std::vector<nn::Parameter>& trained, std::unique_ptr<nn::DeviceGraph> graph);
  /// Where the examples came from, for messages.
  virtual std::string describe(const MicroBatch& batch) const = 0;

  /// Bytes that the largest of what is computed at once needs from its forward pass to the end of its backward, beside weights and their
  /// gradients.
  virtual int64_t training_bytes(const std::vector<BatchSize>& at_once, nn::Recompute recompute) const = 0;
  /// Bytes of the largest batch of an evaluation; 0 where there is none.
  virtual int64_t evaluation_bytes() const = 0;

  virtual bool has_evaluation() const = 0;
  /// What metric_for_best_model may name: eval_loss, and what evaluate() gives beside it.
  virtual std::vector<std::string> metric_names() const { return {"eval_loss"}; }
  /// Loss on the evaluation set, without dropout. Throws Interrupted when a signal comes.
  virtual EvalResult evaluate() const = 0;
};

}  // namespace lora::train
