#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lora/nn/pass.h"

namespace lora::train {

/// The examples of one forward and backward pass, by their index in the training set.
using MicroBatch = std::vector<int64_t>;

struct BatchSize {
  int64_t supervised = 0;  ///< what the loss is divided by: the number of supervised tokens, documents or rows
  int64_t input = 0;       ///< input tokens, or rows of features
  int64_t lanes = 1;       ///< number of such parts computed side by side (sizes_at_once)
  int64_t documents = 0;
};

/// What a loss takes in addition to the model's pass, for the memory estimate.
struct LossMemory {
  int64_t needed = 0;      ///< number of tokens whose hidden states the loss needs
  int64_t training = 0;    ///< bytes from the hidden states to their gradient
  int64_t evaluation = 0;  ///< bytes from the hidden states to the recorded results
};

struct EvalResult {
  double loss = 0;  ///< mean over all that is supervised in the evaluation set
  int64_t num_supervised = 0;
  const char* supervised_name = "eval_num_tokens";      ///< the key of num_supervised in metrics.jsonl
  std::vector<std::pair<std::string, double>> metrics;  ///< in addition to eval_loss, by their keys there; NaN: no value
};

/// What is trained: a loss, what it counts, and how it is evaluated. How its passes are computed (Execution) is not its concern.
class Objective {
 public:
  virtual ~Objective() = default;

  virtual BatchSize size(const MicroBatch& batch) const = 0;
  /// Sum (not mean) of the losses of the pass's documents, a differentiable float32 scalar. Called on several threads if parts run side
  /// by side. `step` (from 0) is for messages, and for what is drawn per document: dropout comes from the keys of the pass.
  virtual at::Tensor loss_sum(const nn::Pass& pass, int64_t step) const = 0;
  /// Whether it can be computed for several passes at the same time. It cannot if it changes the model meanwhile (nn::AdapterScope).
  virtual bool runs_concurrently() const { return true; }
  virtual LossMemory loss_memory(const BatchSize& size) const = 0;
  /// Where the examples come from, for messages.
  virtual std::string describe(const MicroBatch& batch) const = 0;

  virtual bool has_evaluation() const = 0;
  /// The allowed values of metric_for_best_model: eval_loss and the metrics of evaluate().
  virtual std::vector<std::string> metric_names() const { return {"eval_loss"}; }
  /// The loss on the evaluation set, without dropout. Throws Interrupted when a signal arrives.
  virtual EvalResult evaluate() const = 0;
};

}  // namespace lora::train
