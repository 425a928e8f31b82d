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
  int64_t lanes = 1;       ///< number of such parts computed side by side (Objective::sizes_at_once)
};

struct EvalResult {
  double loss = 0;  ///< mean over all that is supervised in the evaluation set
  int64_t num_supervised = 0;
  const char* supervised_name = "eval_num_tokens";      ///< the key of num_supervised in metrics.jsonl
  std::vector<std::pair<std::string, double>> metrics;  ///< in addition to eval_loss, by their keys there; NaN: no value
};

/// How many parts are computed side by side, if any are (Objective::runs_alongside_others).
inline constexpr int64_t kLanes = 2;

/// One kind of example and its loss: all that the trainer sees of model and data. Each objective builds its own type of batch from the
/// indices.
class Objective {
 public:
  virtual ~Objective() = default;

  /// The micro-batches of an epoch, in order: a pure function of (seed, epoch).
  virtual std::vector<MicroBatch> plan_epoch(int64_t epoch) const = 0;
  virtual BatchSize size(const MicroBatch& batch) const = 0;
  /// A micro-batch split into parts, which are computed one after the other or side by side. The step is unchanged, as its loss is a sum
  /// over examples.
  virtual std::vector<MicroBatch> parts(const MicroBatch& batch) const { return {batch}; }
  /// Allows small parts to be computed side by side (runs_alongside_others), if the objective supports it: each needs its own memory.
  virtual void set_side_by_side(bool is_allowed) {}
  /// Whether a part is computed side by side with others of its step, kLanes at once, instead of by itself on all threads. loss_sum is
  /// then called on several threads.
  virtual bool runs_alongside_others(const MicroBatch& part) const { return false; }
  /// The sizes of what a step's parts compute at once: each part by itself, and the largest kLanes of those that run side by side as one.
  std::vector<BatchSize> sizes_at_once(const std::vector<MicroBatch>& parts) const;
  /// Number of documents (with packing: bins) per micro-batch, replacing the config's. Not after training has started.
  virtual void set_batch_size(int64_t batch_size) = 0;
  virtual int64_t batch_size() const = 0;
  /// What training passes recompute in backward, if the objective's model supports it.
  virtual void set_recompute(nn::Recompute recompute) {}
  /// The next calls of loss_sum, in this order, so that their batches can be prepared in the meantime. A hint: other calls are allowed.
  virtual void expect(const std::vector<MicroBatch>& upcoming) const {}
  /// Sum (not mean) of the losses of a micro-batch, a differentiable float32 scalar. `step` is part of the key of random numbers.
  virtual at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const = 0;
  /// Adds the gradients of `scale` times the loss of a micro-batch to the existing ones. Returns the loss, a float64 scalar on the device.
  virtual at::Tensor add_gradients(const MicroBatch& batch, int64_t step, double scale);
  /// Makes add_gradients record its passes in graphs. `trained` must outlive the objective. Throws config Error if it cannot.
  virtual void use_graphs(const std::vector<nn::Parameter>& trained, std::unique_ptr<nn::DeviceGraph> graph);
  /// Where the examples come from, for messages.
  virtual std::string describe(const MicroBatch& batch) const = 0;

  /// Bytes that the largest of `at_once` needs from its forward pass to the end of its backward, in addition to weights and their
  /// gradients.
  virtual int64_t training_bytes(const std::vector<BatchSize>& at_once, nn::Recompute recompute) const = 0;
  /// Bytes of the largest batch of an evaluation; 0 if there is none.
  virtual int64_t evaluation_bytes() const = 0;

  virtual bool has_evaluation() const = 0;
  /// The allowed values of metric_for_best_model: eval_loss and the metrics of evaluate().
  virtual std::vector<std::string> metric_names() const { return {"eval_loss"}; }
  /// The loss on the evaluation set, without dropout. Throws Interrupted when a signal arrives.
  virtual EvalResult evaluate() const = 0;
};

}  // namespace lora::train
