#pragma once
#include <functional>
#include <memory>
#include <string>

#include "lora/data/batches.h"
#include "lora/data/labels.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"
#include "lora/train/options.h"

namespace lora::diffusion {
class TrainingSchedule;
}

namespace lora::train {

/// The inputs of an objective on documents. What is referred to must outlive it.
struct ObjectiveParts {
  nn::Model& model;
  const data::Dataset& train;
  const data::Dataset* eval = nullptr;     ///< null: no evaluation
  const data::LabelSet* labels = nullptr;  ///< meaning of the documents' labels; null if they have none
  data::BatchOptions eval_batches = {};
  TrainOptions options = {};  ///< the run's, for what a loss is made of
  std::shared_ptr<const diffusion::TrainingSchedule> schedule = nullptr;  ///< of the noise that the model removes; null: it is no denoiser
};

/// The common part of objectives on documents: what they count, and the batches of an evaluation. A derived objective adds its loss and its
/// evaluation.
class DocumentObjective : public Objective {
 public:
  explicit DocumentObjective(const ObjectiveParts& parts) : parts_(parts) {}

  BatchSize size(const MicroBatch& batch) const override;
  std::string describe(const MicroBatch& batch) const override;
  bool has_evaluation() const override { return parts_.eval != nullptr; }

 protected:
  nn::Model& model() const { return parts_.model; }
  const TrainOptions& options() const { return parts_.options; }
  const data::Dataset& train_set() const { return parts_.train; }
  const data::Dataset& eval_set() const { return *parts_.eval; }
  /// Calls `add` with every batch of the evaluation set. Throws Interrupted when a signal arrives.
  void for_each_eval_batch(const std::function<void(const nn::Batch& tokens)>& add) const;

 private:
  ObjectiveParts parts_;
};

/// The supervised and the input tokens of documents.
BatchSize size_of(const data::Dataset& dataset, const MicroBatch& batch);

/// Where documents come from, for messages.
std::string origins_of(const data::Dataset& dataset, const MicroBatch& batch);

}  // namespace lora::train
